# frozen_string_literal: true

# The jobs on Sidekiq, and what they leave behind: marks.py, in Ruby.

require "logger"
require "sidekiq"

Sidekiq.logger.level = Logger::WARN

# A Sidekiq that is older than its client would have each of its calls complained about.
Redis.silence_deprecations = true if defined?(Redis) && Redis.respond_to?(:silence_deprecations=)
Redis.sadd_returns_boolean = false if defined?(Redis) && Redis.respond_to?(:sadd_returns_boolean=)

# A time on the board, a line in the journal.
module Marks
  ENTRY = 16

  def self.now
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end

  # Opened while the file is read, before there are threads.
  BOARD = ENV.key?("BENCHMARK_BOARD") ? File.open(ENV["BENCHMARK_BOARD"], "r+b") : nil
  JOURNAL = if ENV.key?("BENCHMARK_JOURNAL")
    File.open(ENV["BENCHMARK_JOURNAL"], File::WRONLY | File::APPEND | File::CREAT, 0o600)
  end

  # Two native doubles: when it began, and now.
  def self.ran(number, began)
    BOARD.pwrite([began, now].pack("dd"), ENTRY * number)
  end

  def self.write(mark, ident)
    JOURNAL.syswrite("#{mark} - #{ident}\n")
  end
end

class NoOp
  include Sidekiq::Worker

  def perform(number)
    Marks.ran(number, Marks.now)
  end
end

class HandOver
  include Sidekiq::Worker

  def perform(number, sent_at)
    Marks.ran(number, sent_at)
  end
end

class Journal
  include Sidekiq::Worker

  def perform(ident, seconds)
    Marks.write("S", ident)
    sleep(seconds)
    Marks.write("F", ident)
  end
end
