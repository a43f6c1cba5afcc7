"""What Kubernetes says: objects, decoding, watching, and what is written back."""
