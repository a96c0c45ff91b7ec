"""One Redis for Sidekiq and us: the real Sidekiq on its side, the real worker on ours."""
