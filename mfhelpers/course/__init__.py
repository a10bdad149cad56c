"""The course as files: running notebooks, classrooms, and whether a machine is ready."""
