"""What each data set is, how it is described and how it is loaded: a module for each kind of source."""
