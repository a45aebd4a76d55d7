"""What StreamKit says to Kick and Twitch: outgoing HTTP, their APIs, the tokens and the vault that keeps them."""
