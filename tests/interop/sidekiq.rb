# Sidekiq's own client, API and Web, for tests to ask: lines of JSON in, lines of JSON out.
#
# {"ruby": "|jid| ...", "args": [...]} calls a block, and answers {"value": ...}, times as epoch
# seconds. {"path": "/retries", "form": {...} or null} asks Sidekiq::Web for a page or posts a
# form, and answers {"status": ..., "body": ..., "location": ...}. What is raised comes back as
# {"error": "Class: message", "at": [...]}.
gem "sidekiq", "~> 6.4.1"

require "json"
require "logger"
require "sidekiq"
require "sidekiq/api"
require "sidekiq/scheduled"
require "sidekiq/web"
require "rack/mock"

# The standard output is for answers.
answers = $stdout.dup
$stdout.reopen($stderr)
Sidekiq.logger = Logger.new($stderr, level: Logger::WARN)

require_relative "jobs"

TOKEN = Base64.strict_encode64("t" * 32)
WEB = Rack::MockRequest.new(Sidekiq::Web)

def plain(value)
  case value
  when Time then value.to_f
  when Hash then value.to_h { |key, each| [key.to_s, plain(each)] }
  when Array then value.map { |each| plain(each) }
  else value
  end
end

def visit(path, form)
  session = {csrf: TOKEN.dup}
  reply =
    if form
      params = form.merge("authenticity_token" => TOKEN)
      WEB.post(path, :params => params, "rack.session" => session)
    else
      WEB.get(path, "rack.session" => session)
    end
  {status: reply.status, body: reply.body.force_encoding("utf-8"), location: reply["Location"]}
end

def answer(request)
  if request["path"]
    visit(request["path"], request["form"])
  else
    {value: plain(eval("lambda { #{request["ruby"]} }").call(*request["args"]))}
  end
rescue Exception => error
  {error: "#{error.class}: #{error.message}", at: error.backtrace.first(8)}
end

$stdin.each_line do |line|
  answers.puts(JSON.generate(answer(JSON.parse(line))))
  answers.flush
end
