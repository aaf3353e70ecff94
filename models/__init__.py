"""Networks: a caption and a sticker -> an animated sticker."""
