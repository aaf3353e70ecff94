"""Large, slow teachers become a small, few-step student."""
