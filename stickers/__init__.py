"""A procedural world of animated stickers with ground truth: spec -> clip, flow, parts."""
