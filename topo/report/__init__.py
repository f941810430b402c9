"""Results as people read them: text blocks, tables, figures and drawings."""
