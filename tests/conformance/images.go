//go:build images

// The programs of the images that the suite asks for; `images.py` builds them.

package conformance

import (
	_ "k8s.io/kubernetes/test/images/agnhost"
	_ "k8s.io/kubernetes/test/images/nonewprivs"
	_ "k8s.io/sample-apiserver"
)
