"""Where steps run and where their files lie: this process or a Ray cluster; a folder or any fsspec location."""
