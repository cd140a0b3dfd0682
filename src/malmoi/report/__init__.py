"""A whole recipe as one page with plots, one JSON file for machines, and a short table for the terminal."""

from malmoi.report.summary import summary_rows, summary_table
from malmoi.report.write import write_report

__all__ = ["summary_rows", "summary_table", "write_report"]
