"""What people read: view models made of verified records, and their terminal, JSON and HTML forms."""
