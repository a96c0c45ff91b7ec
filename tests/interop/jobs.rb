# The jobs of the Ruby side, for its worker and its client. Those that Django runs are only
# names here, as those that run here are in jobs.py.
require "json"
require "sidekiq"

module Notes
  def note(args)
    line = JSON.generate("by" => "ruby", "jid" => jid, "args" => args) + "\n"
    flags = File::WRONLY | File::APPEND | File::CREAT
    File.open(ENV.fetch("JOBQUEUE_TEST_NOTES"), flags, 0o600) { |file| file.syswrite(line) }
  end
end

class RubyEcho
  include Sidekiq::Worker
  include Notes
  sidekiq_options queue: "ruby"

  def perform(*args)
    note(args)
  end
end

class RubyFailure
  include Sidekiq::Worker
  include Notes
  sidekiq_options queue: "ruby", backtrace: true
  sidekiq_retry_in { 3600 }

  def perform(*args)
    note(args)
    raise ArgumentError, "Ruby's fails by design: <é>"
  end
end

module Interop
  class RubyUnique < RubyFailure
    sidekiq_retry_in { 3600 }
  end
end

class RubyWait
  include Sidekiq::Worker
  include Notes
  sidekiq_options queue: "ruby"

  def perform(path)
    note([path])
    sleep 0.01 until File.exist?(path)
  end
end

class DjangoEcho
  include Sidekiq::Worker
  sidekiq_options queue: "django"
end

class DjangoFailure
  include Sidekiq::Worker
  sidekiq_options queue: "django", backtrace: true
end

# A test waits for several beats: every second is often enough to tell, and soon enough.
Sidekiq::Launcher.class_eval do
  remove_const :BEAT_PAUSE
  const_set :BEAT_PAUSE, 1
end if defined?(Sidekiq::Launcher)
