"""The commands: python -m mfhelpers doctor | start DIR | run | course DIR."""

if __name__ == "__main__":
    from .course.commands import run_from_a_terminal

    run_from_a_terminal()
