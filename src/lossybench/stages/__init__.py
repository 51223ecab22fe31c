"""The stages, one module for each rule file of the workflow. The command line is derived from their functions."""
