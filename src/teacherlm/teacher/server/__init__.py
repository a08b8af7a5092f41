"""The embedded server: TGI's protocol on transformers. Loaded only by who serves (needs the extra `local`)."""
