"""One prompt's life: bus events of OpenCode in, task log events out."""
