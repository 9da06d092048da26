"""What a node serves: its endpoints as a handler of requests, and who may call them over a socket."""
