"""Several worker processes below one parent: when each is started, stopped and started again."""
