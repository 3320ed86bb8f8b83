"""What views share: the open office, drawing, the signing forms."""
