"""What a worker does with a claimed run: open a bench, let the agent work through the journal, prove the result, report."""
