"""The page on the data: statistics, duplicates, outliers, samples."""
