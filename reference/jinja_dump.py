"""What Transformers' Jinja environment makes of small templates, for test/data/jinja.test.ts."""

import datetime
import json
from pathlib import Path

import transformers.utils.chat_template_utils as chat_template_utils

FIXTURE = Path(__file__).parent.parent / "test" / "data" / "fixtures" / "jinja.json"
NOW = datetime.datetime(2026, 3, 5, 14, 7, 9)
VARIABLES = {
    "s": "  Tree 树 🌳 leaf's \"q\" \n",
    "n": 7,
    "f": 2.5,
    "l": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "d": {"b": 1, "a": [1, 2.5, None, True], "items": "key", "ü": "é\n\t\x7f"},
    "rows": [{"k": "x", "v": 2}, {"k": "y", "v": 1}, {"v": 3}],
    "t": True,
    "nothing": None,
    "empty": "",
    "html": "<b>&'\"",
}

EXPRESSIONS = """
n + 1; n - 10; n * 2; n / 2; 8 / 2; n // 2; -7 // 2; -7 % 3; 2 ** 10; f * 2; 1e0 if false else 1.0; f // 1; t + 1; 10 ** -2; 1 / 3
0.1 + 0.2; 100000000000000000000.0; 0.00001; 1.5 * 2; 7 % 2.5; -n; not n; +n
'a' + 'b'; 'a' ~ 1 ~ none ~ true ~ undefined_name; 'ab' * 3; [1] + [2]; [0] * 3; '%s-%d-%.2f' % ('a', 3, 2.5); '%s' % 'x'; '%5d' % 3
s; n; f; l; d; t; nothing; undefined_name; [none, true, 1.0, 'x', "it's"]; (1, 2); (1, 'a'); {'a': {'b': []}}
['it\\'s', 'a"b', 'both\\'"', 'new\\nline', 'tab\\t', 'back\\\\slash', '树', '\\u200b']
1 == 1.0; 1 == true; '1' == 1; [1, 2] == [1, 2]; {'a': 1} == {'a': 1}; none == undefined_name; undefined_name == undefined_other; 'a' != 'b'
1 < 2; 'a' < 'b'; [1, 2] < [1, 3]; 'a' < 1; none < 1; 2 >= 2
'a' in 'abc'; 'a' in d; 'a' in words; 1 in [true]; 'x' not in words; 'x' in undefined_name; 1 in 'abc'; none in [none]
s[0]; s[2]; s[-1]; s[7]; s[9]; s[2:6]; s[::-1]; s[7:9]; l[-1]; l[5]; l[1:]; l[::-1]; l[:-1]; l[::2]; l[-2:]; l[2:0:-1]; d['a'][1]; d.a[0]; d['zz']; d.zz; d['items']; rows[0].k; rows[2].k
nothing.x; undefined_name.x; d.zz.y; d['zz']['y']; n.x; l.x; undefined_name[0]; undefined_name(); d.zz()
t and 'a' or 'b'; '' or 'x'; n and 0; not ''; none or []; (n > 3) and (n < 10)
'a' if n else 'b'; 'a' if not n else 'b'; 'a' if not n; 'a' if empty else 'b' if empty else 'c'
s.strip(); s.lstrip(); s.rstrip(); s.strip(' \\n"'); 'xxaxx'.strip('x'); 'xxaxx'.lstrip('x'); 'xxaxx'.rstrip('x'); '\\n\\n a \\n'.strip('\\n'); '\\x1c a\\u00a0\\ufeff'.strip()
s.upper(); s.lower(); 'hello wORLD'.title(); 'hELLO'.capitalize(); 'aXbX'.split('X'); ' a  b '.split(); 'a,b,c'.split(',', 1); 'a b c'.split(none, 1); 'a,b,c'.rsplit(',', 1); 'ab'.split(''); 'a\\nb\\r\\nc\\n'.splitlines()
'aaa'.replace('a', 'b', 2); 'abc'.replace('', '-'); 'abc'.find('c'); 'abc'.find('z'); '🌳a'.find('a'); 'abca'.rfind('a'); 'abcb'.count('b'); 'abc'.index('c'); '-'.join(words); '-'.join(l); 'abc'.join('xy')
'abc'.startswith('ab'); 'abc'.startswith(('x', 'a')); 'abc'.endswith('bc'); 'abc'.removeprefix('a'); 'abc'.removesuffix('c'); 'a=b=c'.partition('='); 'a=b=c'.rpartition('='); 'abc'.partition('=')
'12'.isdigit(); 'ab1'.isalnum(); 'ab'.isalpha(); ' '.isspace(); 'AB'.isupper(); 'ab'.islower(); '7'.rjust(3, '0'); 'a'.ljust(3); 'é'.isalpha(); ''.isdigit()
'{} {}'.format(1, 'a'); '{0}{1}{0}'.format('a', 'b'); '{x}'.format(x=none); '{{}}'.format(); '{:.2f}'.format(2.5); '{}'.format(l)
d.keys() | list; d.values() | list; d.items() | list; d.get('a'); d.get('zz'); d.get('zz', 3); d.copy() | length; d.pop('a'); d.update({}); l.append(1); l.count(3); l.index(2); l.pop()
s | length; s | trim; 'xax' | trim('x'); words | join; words | join(', '); rows | join('-', attribute='v'); l | join; none | length; n | length; undefined_name | length; d | length; 'é🌳' | length; l | count
words | sort; words | sort(case_sensitive=true); l | sort(reverse=true); rows | sort(attribute='v') | map(attribute='v') | list; l | first; l | last; [] | first; words | unique | list; l | reverse | list; 'abc' | reverse; l | max; l | min; l | sum; rows | sum('v'); 'abc' | list; 'abc' | first; d | list; none | list
rows | map(attribute='k') | list; rows | map(attribute='k', default='?') | list; words | map('upper') | list; words | map('upper') | join; rows | selectattr('k') | list | length; rows | selectattr('k', 'equalto', 'x') | list; rows | rejectattr('k', 'defined') | list; l | select('odd') | list; l | reject('gt', 1) | list; rows | selectattr('k', 'in', ['x']) | map(attribute='v') | list; words | map('replace', 'a', 'z') | list
words | select | length; words | map('upper') | tojson; none | map('upper') | list; (words | select('equalto', 'zzz')) and true
d | tojson; d | tojson(indent=2); l | tojson(indent=0); [] | tojson(indent=2); {} | tojson; d | tojson(ensure_ascii=true); d | tojson(sort_keys=true); d | tojson(separators=(',', ':')); '<>&\\'"\\u2028\\b\\f' | tojson; f | tojson; 1.0 | tojson; undefined_name | tojson; {1: 2, none: 3} | tojson; (1, 2) | tojson; words | tojson(true)
undefined_name | default('x'); empty | default('x'); empty | default('x', true); none | default('x'); none | d('x', boolean=true)
'12' | int; '1.9' | int; 'x' | int; 'x' | int(5); 3.9 | int; -3.9 | int; ' 4 ' | int; none | int; '2.5' | float; 'x' | float; 3 | float; true | int; n | string; n | string | length; f | string; none | string; l | string; -3 | abs; -2.5 | abs
'a\\nb\\n\\nc' | indent; 'a\\nb\\n\\nc' | indent(2, true); 'a\\nb\\n\\nc' | indent(2, blank=true); 'a\\n' | indent; 'a\\nb' | indent('> '); 'aaa' | replace('a', 'b', 2); 'hello wORLD-foo (bar)' | title; 'hELLO' | capitalize; 'x' | upper; d | items | list; d | dictsort; d | dictsort(reverse=true) | length; undefined_name | items | list
html | e; html | escape; html | safe; html | safe + html; html + (html | safe); (html | safe) ~ html; (html | safe) | upper; '%s' | format(html); '%s and %s' | format(1, 'b'); (html | safe).strip()
n is defined; undefined_name is defined; nothing is none; s is string; n is number; t is number; t is boolean; n is integer; f is float; n is float; d is mapping; l is mapping; l is iterable; s is iterable; n is iterable; l is sequence; d is sequence; undefined_name is iterable; n is odd; n is even; t is true; n is true; empty is false; s is lower; 'ab' is lower; 'AB' is upper; s is callable; range is callable; n is not none; nothing is not defined; undefined_name is undefined; none is undefined
range(3) | list; range(1, 7, 2) | list; range(3, 0, -1) | list; range(5) | length; range(100001) | length; range(1000000000) | length
dict(a=1, b=2); dict([('a', 1)]); dict({'x': 1}, y=2)
strftime_now('%d %b %Y'); strftime_now('%Y-%m-%d %H:%M:%S'); strftime_now('%A, %B %-d'); strftime_now('%I:%M %p %j %y %a'); strftime_now('%e|%%|%F %T')
raise_exception('No.'); raise_exception(); unknown_function(1); n | unknown_filter; n is unknown_test; 'a'.unknown(); namespace(_x=1)
1 / 0; 1 // 0; 1 % 0; 'a' + 1; none + 1; undefined_name + 1; l - 1; 'a' < none; d + d
"""

BLOCKS = [
    "{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }};{% endfor %}",
    "{% for x in l %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }}{{ loop.depth }}{% endfor %}",
    "{% for x in [] %}a{% else %}none{% endfor %}{% for x in undefined_name %}a{% else %}none{% endfor %}",
    "{% for x in nothing %}a{% endfor %}",
    "{% for x in l if x > 1 %}{{ x }}{{ loop.index }}{% else %}none{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}",
    "{% for a, b in [[1, 2, 3]] %}{% endfor %}",
    "{% for c in 'añ🌳' %}[{{ c }}]{% endfor %}",
    "{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% if x == 2 %}{% break %}{% endif %}!{% endfor %}",
    "{% for x in l %}a{{ x }}{% if x == 1 %}b{% break %}{% endif %}c{% endfor %}",
    "{% set x = 1 %}{% for y in l %}{% set x = x + y %}{{ x }}{% endfor %}{{ x }}",
    "{% for y in l %}{% if loop.first %}{% set z = 'set' %}{% endif %}[{{ z }}]{% endfor %}",
    "{% if t %}{% set inside = 1 %}{% endif %}{{ inside }}",
    "{% set ns = namespace(a=1) %}{% for y in l %}{% set ns.a = ns.a + y %}{% endfor %}{{ ns.a }}{{ ns.b }}",
    "{% set d.x = 1 %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set block %}x{{ a }}{% endset %}[{{ block }}]{{ block is string }}",
    "{% macro m(a, b='B', c=none) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, c=2) }}|{{ m(b=1, a=2) }}|{{ m() }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}",
    "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}",
    "{% macro m() %}{{ x }}{% endmacro %}{% set x = 'later' %}{{ m() }}{% for x in l %}{{ m() }}{% endfor %}",
    "{% macro m(n) %}{{ n }}{% if n > 0 %}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(3) }}",
    "{% macro box(t) %}<{{ t }}>{{ caller() }}</{{ t }}>{% endmacro %}{% call box('b') %}in {{ n }}{% endcall %}",
    "{% macro each() %}{% for x in l %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(v) each() %}[{{ v }}]{% endcall %}",
    "{% filter upper %}abc {{ n }}{% endfilter %}{% filter replace('a', 'b') %}aaa{% endfilter %}",
    "{% if n > 10 %}a{% elif n > 5 %}b{% else %}c{% endif %}",
    "  {% if t %}  \n  x\n  {% endif %}\n y",
    "a\n   {%- if t -%}\n  x  \n{%- endif %}  \n  z",
    "{# comment #}\nx{#- c -#}  y\n{# more\nlines #}\nz",
    "{{ '{{' }}{{ \"}}\" }}{{ '%}' }}",
    "a\r\nb\r\n{% if t %}\r\nc{% endif %}\r\n",
    "line\n\n",
    "{{- ' a ' -}}   {{ 'b' }}",
    "{%- for x in l -%}\n   {{ x }} ,\n{%- endfor -%}\n",
    "{% generation %}a{{ n }}{% endgeneration %} b {%- generation -%} c {%- endgeneration -%} d",
    "{% for x in l %}\n{% generation %}\n{{ x }}\n{% endgeneration %}\n{% endfor %}",
    "{{ undefined_name.foo if undefined_name else 'safe' }}",
    "{{ rows[0]['k'] }}{{ rows | length > 2 }}{{ (rows | length) - 1 }}",
    "{%- set ns = namespace(found=false) -%}{%- for r in rows -%}{%- if r.k is defined and r.k == 'y' -%}{%- set ns.found = true -%}{%- endif -%}{%- endfor -%}{{ ns.found }}",
    "{{ joiner is defined }}{% set j = joiner('|') %}{% for x in l %}{{ j() }}{{ x }}{% endfor %}",
    "{{ [1, 2, 3][1:] + ['a', none] }}{{ {'a': 1}.a }}{{ {'a': 1}['a'] }}",
    "{{ 'a' 'b' }}{{ 1.50 }}",
    "{{ (l | map('string') | join(',')) ~ '.' }}",
    "{{ d['b'] | string ~ 'x' }}{{ n | string + 'x' }}{{ -n | abs }}{{ not n is odd }}",
]


class Frozen(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def render(template: str) -> dict:
    try:
        texts, marks = chat_template_utils.render_jinja_template(
            [[{"role": "user", "content": ""}]],
            chat_template=template,
            return_assistant_tokens_mask=True,
            **VARIABLES,
        )
        return {"template": template, "text": texts[0], "generated": [place for mark in marks[0] for place in mark]}
    except Exception as error:
        return {"template": template, "error": f"{type(error).__name__}: {error}"}


def main() -> None:
    chat_template_utils.datetime = Frozen
    expressions = [part.strip() for line in EXPRESSIONS.strip().split("\n") for part in line.split("; ")]
    cases = [render("{{ " + expression + " }}") for expression in expressions] + [render(block) for block in BLOCKS]
    FIXTURE.write_text(
        json.dumps({"now": NOW.isoformat(), "variables": VARIABLES, "cases": cases}, ensure_ascii=False, indent=1) + "\n",
        encoding="utf-8",
    )
    print(f"{len(cases)} templates, {sum('error' in case for case in cases)} refused")


if __name__ == "__main__":
    main()
