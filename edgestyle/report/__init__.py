"""Reports: a `Document` of sections, tables, pictures and plots, written as HTML or Markdown, and checks as JUnit XML."""
