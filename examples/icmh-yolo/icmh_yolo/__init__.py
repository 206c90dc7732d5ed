"""YOLOv8n-seg as a task network of icmh-plugins."""
