-- severity: reject | kinds: all | reason: the text holds what a prompt or a chat template leaves behind
-- Tokens such as <|im_end|> and [INST], headings such as "### Response:", "As an AI language model", thinking out loud.
select sample_id, kind, repeat, format('it holds "{}"', artefact) as reason
from metrics
where artefact is not null
