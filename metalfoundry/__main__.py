"""`python -m metalfoundry`: the same as the `metalfoundry` command."""

from metalfoundry.ui.tasks.program import main

if __name__ == "__main__":
    main()
