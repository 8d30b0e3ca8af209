"""Google's generative models through google-genai: images by Gemini, videos by Omni and Veo."""
