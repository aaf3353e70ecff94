"""A folder or a name -> programs to export, each with what proves it: the parts."""
