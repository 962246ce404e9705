"""Reports: a `Document` of sections, tables, pictures and plots, as HTML or Markdown; checks as JUnit XML."""
