"""What the scripts in tools/ and the console command call."""
