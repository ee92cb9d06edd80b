"""What else a function changes: arrays that it only writes, the settings of the process, files, databases."""
