"""Jobs and CronJobs: pods that end."""
