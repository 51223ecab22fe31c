"""Commands that no rule calls: a check of data, a plan, rates without a model, a measurement of speed."""
