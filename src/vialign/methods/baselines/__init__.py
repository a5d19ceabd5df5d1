"""The methods that the curriculum is held against, one file each."""
