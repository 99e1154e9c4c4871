"""Stores in a bucket: of S3 and what speaks it, of Google Cloud, of Azure, by obstore."""
