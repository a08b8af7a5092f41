"""From a snapshot of data to a student or a teacher."""
