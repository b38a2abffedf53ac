"""Programs for those who develop this project. Not in the shipped package."""
