"""What spinelab does to a scan: one file a task, one frozen Options and one function each."""
