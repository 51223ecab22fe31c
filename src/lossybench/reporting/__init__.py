"""What readers see: figures, contact sheets and recommendations, drawn from the summary tables alone."""
