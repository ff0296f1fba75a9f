"""The command line: a file per sub-command, each thin, with its heavy imports inside."""
