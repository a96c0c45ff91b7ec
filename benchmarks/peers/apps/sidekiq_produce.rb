# frozen_string_literal: true

# Enqueue for Sidekiq: produce.py, in Ruby. A JSON list a line, answered by one of figures.

require "json"
require_relative "sidekiq_app"

# Jobs in one call for many.
PAGE = 1_000

def timed(jobs)
  began = Marks.now
  used = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID)
  yield
  took = Marks.now - began
  used = Process.clock_gettime(Process::CLOCK_PROCESS_CPUTIME_ID) - used
  {"jobs/s" => jobs / took, "CPU us a job" => used / jobs * 1e6}
end

def journal(jobs)
  jobs.each { |ident, seconds| Journal.perform_async(ident, seconds) }
  {}
end

def one_by_one(start, stop)
  timed(stop - start) { (start...stop).each { |number| NoOp.perform_async(number) } }
end

def in_bulk(start, stop)
  timed(stop - start) do
    (start...stop).step(PAGE) do |at|
      NoOp.perform_bulk((at...[at + PAGE, stop].min).map { |number| [number] }, batch_size: PAGE)
    end
  end
end

def hand_over(start, stop, pause)
  due = Marks.now
  (start...stop).each do |number|
    due += pause
    sleep([0.0, due - Marks.now].max)
    HandOver.perform_async(number, Marks.now)
  end
  {}
end

$stdin.each_line do |line|
  verb, *arguments = JSON.parse(line)
  $stdout.puts(JSON.generate(send(verb, *arguments)))
  $stdout.flush
end
