"""Recipe -> stages -> runs."""
