"""How few groups or items are too few to speak of others than these: what `check` warns of and the analysis marks.

What few groups show holds for them alone. With G of them, an interval for others of their kind rests on G - 1 degrees
of freedom and on the normality of so many means: cluster-robust tests are known to reject too often below some 20 to 50
groups (Cameron, Gelbach and Miller, Bootstrap-Based Improvements for Inference with Clustered Errors, 2008).
"""

FEWEST_GROUPS = 20  # of a factor in the test split; below, limits hold for these groups alone
FEWEST_OF_CLASS = 10  # test items of a class; below, its precision, recall, F1 and average precision are hardly known
