"""What is drawn: lines, the live view, tables, reports."""
