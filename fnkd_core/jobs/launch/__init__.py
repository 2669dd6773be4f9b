"""Starting the processes that share one run. Each engine is imported only when it is asked for."""
