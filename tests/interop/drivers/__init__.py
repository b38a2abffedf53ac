"""Programs that drive one official client each, in that client's environment; nothing here may need ours."""
