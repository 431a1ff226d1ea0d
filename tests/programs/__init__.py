"""What tests start as processes of their own: one program in each file, started with arguments."""
