"""Templates of one feature each, for make_templates.py: a source, or (source, variables)."""

DATA = {
    "xs": [3, 1, 2],
    "names": ["bob", "Alice", "carol", "alice"],
    "d": {"b": 1, "a": 2, "C": 3},
    "people": [{"name": "Ann", "age": 30, "tags": ["x", "y"]}, {"name": "bob", "age": 25, "tags": []},
               {"name": "Cy", "age": 30}],
    "s": "Hello World",
    "u": "Straße ÉCOLE ǆ ΑΣ ﬁ İ",
    "nul": None,
    "yes": True,
    "no": False,
    "n": 7,
    "f": 2.5,
    "big": 123456789012345678901234567890,
    "nested": {"a": {"b": [{"c": "deep"}]}},
    "odd": "tab\there \"quote\" 'single' back\\slash \x01\x7f\u00a0\u200b\u2028é😀",
    "lines": "one\ntwo\n\n  three\r\nfour",
    "html": "<a href=\"x\">Tom & 'Jerry'</a>",
}

# ----------------------------------------------------------------- white space around tags, text ---
WHITESPACE = [
    "a\n", "a\n\n", "\n", "", " ", "a\r\nb\rc\n", "  {% if true %}\n  x\n  {% endif %}\n  y\n",
    "a {% if true %} b {% endif %} c", "a\n  {%- if true -%}\n  b\n  {%- endif -%}\n  c",
    "a\n  {%+ if true +%}\n  b\n  {%+ endif +%}\n  c", "x {{- ' y ' -}} z", "x {{ 1 }}\n{{ 2 }}\n", "{{ 1 }}\n\n{{ 2 }}",
    "  {{ 1 }}  \n  {{- 2 -}}  \n", "a{# comment #}b", "a\n  {# comment #}\nb", "a\n  {#- comment -#}\nb", "a\n {#+ c +#}\n b",
    "{# {{ x }} {% if %} #}ok", "{#-#}x", "a {#- x #}\n\n b", "{% raw %}{{ x }} {% y %}{% endraw %}",
    "a\n  {% raw %}\n  {{ x }}\n  {% endraw %}\n  b", "a {%- raw -%}  {{ x }}  {%- endraw -%}  b", "{%raw%}a{%endraw%}b",
    "{% raw %}{# #}{% endraw %}", "{%- set x = 1 %}\n{{ x }}", "\n\n{%- set x = 1 %}\n\n{{ x }}", "{% set x = 1 -%}   \n\n  {{ x }}",
    "  {% set x = 1 %}  {% set y = 2 %}\n{{ x }}{{ y }}", "line\n\t{% if true %}\tx{% endif %}", "{{ '\n' }}x\n{{ 'a\\nb' }}",
    "{% for i in [1, 2] %}\n{{ i }}\n{% endfor %}\n", "{% for i in [1, 2] -%}\n{{ i }}\n{%- endfor %}\n", "{%if true%}a{%endif%}",
    "{{'a'}}{{\"b\"}}", "{{\n1\n}}", "{% \n if \n true \n %}x{% endif %}", "}} %} #}", "{ { } }", "{", "a{", "{{ '{{ }}' }}", "{{ '%}' }}",
    "\u00a0{%- if true %}x{% endif -%}\u3000y", "a\u2028{%- if true %}x{% endif %}", "x\n \u00a0{% if true %}y{% endif %}",
    "{% if true %}\r\nx\r\n{% endif %}\r\n", "{{ 1 }}  {%- if true %} a{% endif %}", "{%- if true %}  a{% endif %}\n\n\n",
]

# ------------------------------------------------------------------------------------ literals ---
LITERALS = [
    "{{ 1 }} {{ -1 }} {{ +1 }} {{ 1.5 }} {{ 1e3 }} {{ 1.5e-7 }} {{ 1_000 }} {{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 0 }} {{ 1e100 }}",
    "{{ 1.0 }} {{ 100000000000000000.0 }} {{ 1e16 }} {{ 1e15 }} {{ 123456789.125 }} {{ 0.0001 }} {{ 0.00001 }} {{ -0.0 }} {{ 1e22 }}",
    "{{ 3.0e5 }} {{ 2.5E+3 }} {{ 12345678901234567 }} {{ 0.1 + 0.2 }}",
    r"{{ 'a\tb\\c\'d\"e\x41\u00e9\U0001F600\101\q\0z' }}", "{{ 'a' 'b' \"c\" }}", "{{ true }} {{ True }} {{ false }} {{ False }} {{ none }} {{ None }}",
    "{{ [1, 'a', none, true, 2.5, [1], (1,), {}] }}", "{{ (1, 2) }} {{ (1,) }} {{ () }} {{ 1, 2 }}", "{{ {'a': 1, 'b': [1, 2], 3: none, true: 'x'} }}",
    "{{ {} }} {{ [] }} {{ [1, 2,] }} {{ {'a': 1,} }}", "{{ 'multi\nline' }}", "{{ \"it's\" }} {{ ['it\\'s', 'a\"b', '\\'\"'] }}",
    "{{ 1 if true }}{{ 1 if false }}|{{ 1 if false else 2 }}", "{{ 'a' if false else 'b' if false else 'c' }}",
    "{{ 99999999999999999999 }}", "{{ 1.a }}", "{{ 'unclosed }}", "{{ 1 2 }}", "{{ }}", "{{ ( }}", "{{ [1, 2 }}", "{{ ) }}", "{{ @ }}", "{{ 'x' | }}",
    "{{ {'a' 1} }}", "{{ a. }}", "{{ 'a'.0 }}{{ [5, 6].1 }}", "{{ {1: 'int'}[1.0] }}{{ {true: 'b'}[1] }}", "{{ {[1]: 2} }}",
]

# ---------------------------------------------------------------------------------- arithmetic ---
ARITHMETIC = [
    "{{ 7 / 2 }} {{ 6 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ -2 ** 2 }}",
    "{{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 7.5 % -2 }} {{ 1 + 2.0 }} {{ 3 * 1.5 }} {{ 2.0 ** 3 }} {{ true + 1 }} {{ 5 - true }}",
    "{{ 1 + 2 * 3 }} {{ (1 + 2) * 3 }} {{ 2 * 3 ** 2 }} {{ 10 - 2 - 3 }} {{ 100 / 10 / 2 }} {{ 2 ** 3 ** 2 }} {{ 1 - -1 }}",
    "{{ 'a' + 'b' }} {{ 'ab' * 3 }} {{ 2 * 'x' }} {{ [1] + [2] }} {{ [0] * 3 }} {{ (1,) + (2,) }} {{ 'a' * -1 }}|",
    "{{ 1 ~ 2 }} {{ 'a' ~ none ~ true ~ 1.0 ~ [1] }} {{ 1 ~ 2 * 3 }} {{ 'a' ~ 'b' * 2 }}", "{{ 1 + 2 ~ 3 }}", "{{ x ~ 'u' }}",
    "{{ 1 / 0 }}", "{{ 1 % 0 }}", "{{ 1.0 // 0 }}", "{{ 'a' + 1 }}", "{{ 1 + 'a' }}", "{{ 'a' - 'b' }}", "{{ none + 1 }}", "{{ undefined_name + 1 }}",
    "{{ 1 + undefined_name }}", "{{ -'a' }}", "{{ -none }}", "{{ [1] + (2,) }}", "{{ {} + {} }}", "{{ 'a' * 'b' }}", "{{ 'a' * 1.5 }}",
    "{{ 9223372036854775807 - 1 }}", "{{ -9223372036854775807 }}", "{{ 3 * 1000000 * 1000000 }}", "{{ -1|abs }} {{ -1.5|abs }} {{ (-3)|abs }}",
]

# ------------------------------------------------------------------------------ logic, comparison ---
LOGIC = [
    "{{ 1 == 1.0 }} {{ 1 == true }} {{ '1' == 1 }} {{ none == none }} {{ [1, 2] == [1, 2] }} {{ [1] == (1,) }} {{ {'a': 1} == {'a': 1.0} }}",
    "{{ x == y }} {{ x == none }} {{ x != y }} {{ x is defined == false }}", "{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 1 < 2 == true }} {{ 3 > 2 >= 2 }}",
    "{{ 'a' < 'b' }} {{ 'B' < 'a' }} {{ 'é' > 'z' }} {{ [1, 2] < [1, 3] }} {{ (1,) < (1, 0) }} {{ 'a' <= 'a' }} {{ 1 <= 1.5 }}",
    "{{ 'a' in 'abc' }} {{ 'd' in 'abc' }} {{ '' in 'abc' }} {{ 1 in [1, 2] }} {{ 'a' in {'a': 1} }} {{ 3 not in [1] }} {{ 'x' not in 'abc' }}",
    "{{ 1 in (1, 2) }} {{ 2 in range(3) }} {{ 'a' in undefined_name }} {{ 1.0 in [1] }} {{ none in [none] }} {{ true in [1] }}",
    "{{ true and 1 }} {{ 0 and 1 }} {{ 0 or 'x' }} {{ '' or none }} {{ not 1 }} {{ not '' }} {{ not not 2 }} {{ 1 and 2 or 3 }} {{ 0 or 0.0 }}",
    "{{ not true or true }} {{ not (true or true) }} {{ not 1 == 2 }} {{ not 'a' in 'b' }} {{ 1 if not x else 2 }}",
    "{{ [] or 'empty' }} {{ {} or 'empty' }} {{ () or 'empty' }} {{ range(0) or 'empty' }} {{ [0] or 'empty' }} {{ ' ' or 'empty' }}|",
    "{{ 1 < 'a' }}", "{{ none < 1 }}", "{{ [] < {} }}", "{{ 1 in 'abc' }}", "{{ none in 'abc' }}", "{{ 1 in 5 }}", "{{ 'a' in none }}", "{{ [1] in {'a': 1} }}",
    "{{ undefined_name < 1 }}", "{{ {} < {} }}", "{{ true < 2 }} {{ 0.5 < 1 }} {{ 2 > true }}",
]

# ---------------------------------------------------------------------------- members and items ---
ACCESS = [
    "{{ d.a }} {{ d['a'] }} {{ d.x }}| {{ d['x'] }}| {{ d.x is defined }}", "{{ nested.a.b[0].c }} {{ nested['a']['b'][0]['c'] }} {{ nested.a.b.0.c }}",
    "{{ xs[0] }} {{ xs[-1] }} {{ xs[5] }}| {{ xs['a'] }}| {{ xs[1:] }} {{ xs[:-1] }} {{ xs[::2] }} {{ xs[::-1] }} {{ xs[5:] }} {{ xs[-2:] }}",
    "{{ s[0] }} {{ s[-1] }} {{ s[1:4] }} {{ s[::-1] }} {{ s[::3] }} {{ s[99] }}| {{ s[:99] }} {{ s[-3:-1] }} {{ s[4:2] }}|", "{{ u[5] }}{{ u[:6] }}{{ u[7:] }}{{ u[-2:] }}",
    "{{ xs[none:2] }} {{ xs[1:none] }} {{ xs[true] }} {{ xs[10:0:-1] }} {{ xs[:0:-1] }} {{ (1, 2, 3)[1:] }} {{ range(10)[2:5]|list }}",
    "{{ d.items }}|{{ d.items is defined }} {{ d['items'] is defined }} {{ {'items': 5}['items'] }} {{ {'items': 5}.get('items') }}" [27:],
    "{{ nul.x }}| {{ nul['x'] }}| {{ n.x }}| {{ 'a'.x }}| {{ none[0] }}|", "{{ undefined_name.x }}", "{{ undefined_name['x'] }}", "{{ d.x.y }}", "{{ nul.x.y }}", "{{ xs[0:1:0] }}",
    "{{ nul[1:] }}", "{{ d[1:] }}", "{{ xs['a':] }}", "{{ undefined_name[1:] }}", "{{ d.__class__ }}|{{ 'a'.__class__ }}|{{ d.__class__ is defined }}", "{{ xs.append }}|{{ xs.append is defined }}",
    "{{ xs.append(1) }}", "{{ d.update({}) }}", "{{ d.pop('a') }}", "{{ d['pop'] is defined }}{{ {'pop': 1}['pop'] }}{{ {'pop': 1}.pop is defined }}", "{{ 'x'.nothing() }}", "{{ 'x'() }}", "{{ 1() }}",
    "{{ d.get('a') }} {{ d.get('x') }} {{ d.get('x', 'dflt') }} ", "{{ d.get('x', default=1) }}", "{{ d.get() }}", "{{ d.get([1]) }}",
    "{{ d.keys() }} {{ d.values() }} {{ d.items() }}", "{{ d.keys()|list }} {{ d.values()|list }} {{ d.items()|list }}", "{{ d.keys()[0] }}|", "{{ d.items()|length }} {{ 'a' in d.keys() }} {{ 2 in d.values() }} {{ ('a', 2) in d.items() }}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{{ d.copy() == d }} {{ xs.count(1) }} {{ xs.index(2) }} {{ (1, 2, 1).count(1) }}", "{{ xs.index(9) }}",
    "{{ {'a': 1}.a }} {{ {'get': 1}['get'] }} {{ [1, 2][1] }} {{ 'abc'[1] }} {{ ('a' ~ 'b')[1] }} {{ 'abc'.upper()[1:] }}", "{{ {'a': 1, 'a': 2} }}", "{{ xs[1.0] }}|{{ xs[none] }}|{{ d[none] }}|{{ d[xs] }}|",
]
ACCESS[6] = "{{ d['items'] is defined }} {{ {'items': 5}['items'] }} {{ {'items': 5}.get('items') }} {{ {'items': 5}.items is mapping }} {{ d.items.x }}|"

# ------------------------------------------------------------------------------------ statements ---
STATEMENTS = [
    "{% if 1 %}a{% elif 2 %}b{% else %}c{% endif %}{% if 0 %}a{% elif 2 %}b{% else %}c{% endif %}{% if 0 %}a{% elif '' %}b{% else %}c{% endif %}",
    "{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}",
    "{% for x in xs %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }}{{ loop.previtem is defined }}{{ loop.nextitem is defined }};{% endfor %}",
    "{% for x in xs %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x > 1) }}{% endfor %}", "{% for x in [] %}a{% else %}none{% endfor %}{% for x in [1] %}a{% else %}none{% endfor %}",
    "{% for x in xs if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% else %}none{% endfor %}", "{% for x in xs if x > 9 %}{{ x }}{% else %}none{% endfor %}",
    "{% for x in range(10) %}{% if x == 3 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% for a in [1, 2] %}{% for b in [1, 2] %}{% if b == 2 %}{% break %}{% endif %}{{ a }}{{ b }} {% endfor %}{% endfor %}",
    "{% for a, b in [(1, 2), [3, 4]] %}{{ a }}-{{ b }};{% endfor %}{% for (a, b) in [(1, 2)] %}{{ a + b }}{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}",
    "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}", "{% for x in none %}{% endfor %}", "{% for x in 5 %}{% endfor %}", "{% for x in undefined_name %}a{% else %}b{% endfor %}",
    "{% for c in 'añ😀' %}[{{ c }}]{% endfor %}", "{% for k in {'a': 1, 'b': 2} %}{{ k }}{{ loop.last }}{% endfor %}", "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}", "{% for x in (1, 2) %}{{ x }}{% endfor %}",
    "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}", "{% set ns = namespace(x=1) %}{% for i in [1, 2] %}{% set ns.x = ns.x + i %}{% endfor %}{{ ns.x }}", "{% for x in xs %}{% endfor %}{{ x is defined }}",
    "{% set x = 1 %}{% if true %}{% set x = 2 %}{% endif %}{{ x }}", "{% if false %}{% set y = 2 %}{% endif %}{{ y is defined }}{{ y }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a }}",
    "{% set x %}a{{ 1 }}b{% endset %}[{{ x }}]{{ x is string }}", "{% set x | upper | trim %}  abc {% endset %}[{{ x }}]", "{% set x | replace('a', 'b') %}banana{% endset %}{{ x }}", "{% set ns = namespace() %}{% set ns.x %}block{% endset %}{{ ns.x }}", "{% set x|length %}abc{% endset %}{{ x + 1 }}",
    "{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{{ ns.c }}|{{ ns['a'] }}{{ ns.a is defined }}{{ ns.c is defined }}", "{% set d.x = 1 %}", "{% set zz.x = 1 %}", "{% set ns = namespace(_x=1) %}", "{% set ns = namespace() %}{% set ns._x = 1 %}", "{{ namespace(a=1, b='x') }}",
    "{% macro m(a, b=2) %}{{ a }}{{ b }}{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(b=5, a=4) }}{{ m() }}|{{ m(a=1)|upper }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=1) }}", "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}", "{% macro m(a) %}{{ a is defined }}{{ varargs|length }}{% endmacro %}{{ m() }}{{ m(1, 2, 3) }}",
    "{% macro m(a, b=a, c=b) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}{{ m(1, 2) }}", "{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% set g = 1 %}{% macro m() %}{{ g }}{% endmacro %}{% set g = 2 %}{{ m() }}", "{{ later() }}{% macro later() %}x{% endmacro %}", "{% macro m() %}{% set loc = 1 %}{% endmacro %}{{ m() }}{{ loc is defined }}",
    "{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}body{% endcall %}", "{% macro m() %}{% for i in [1, 2] %}{{ caller(i, i * 2) }}{% endfor %}{% endmacro %}{% call(a, b) m() %}<{{ a }},{{ b }}>{% endcall %}", "{% macro m() %}x{% endmacro %}{% call m() %}body{% endcall %}", "{% macro m(x) %}{{ x }}{{ caller() }}{% endmacro %}{% set v = 'outer' %}{% call m(1) %}{{ v }}{% endcall %}", "{% macro m() %}{{ caller is defined }}{% endmacro %}{{ m() }}",
    "{% macro m(x) %}{% for y in x %}{{ loop.index }}{{ y }}{% endfor %}{% endmacro %}{% for z in [[1], [2, 3]] %}{{ loop.index }}({{ m(z) }}){% endfor %}", "{{ m is defined }}{% macro m() %}{% endmacro %}{{ m is defined }}{{ m is callable }}{{ m.name }}",
    "{% filter upper %}abc {{ s }}{% endfilter %}", "{% filter replace('a', 'b')|upper %}aXa{% endfilter %}", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}", "{% set a = 5 %}{% with a = 1, b = a %}{{ b }}{% endwith %}", "{% with %}{% set q = 1 %}{{ q }}{% endwith %}{{ q is defined }}",
    "a{% generation %}b{% set gg = 1 %}{{ gg }}{% endgeneration %}c{{ gg is defined }}", "{% for x in xs %}{% generation %}{{ x }}{{ loop.index }}{% endgeneration %}{% endfor %}", "{% print 1, 2, 'a' %}", "{% break %}", "{% continue %}", "{% macro m() %}{% break %}{% endmacro %}", "{% for x in xs %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}",
    "{% endif %}", "{% if true %}", "{% for x in xs %}{% endif %}", "{% unknown %}", "{% if %}{% endif %}", "{% for in xs %}{% endfor %}", "{% for x of xs %}{% endfor %}", "{% set 1 = 2 %}", "{% set x + 1 = 2 %}", "{% set true = 2 %}", "{% else %}", "{% macro %}{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}", "{% call 5 %}{% endcall %}",
    "{% if true %}{% else %}{% elif 1 %}{% endif %}", "{% include 'x' %}", "{% extends 'x' %}", "{% import 'x' as y %}", "{%", "{% if", "{{", "{{ 1", "{# x", "{% raw %} x", "{% set x = %}", "{{ x y }}", "{% if x y %}{% endif %}",
    "{% for x in xs %}{% for y in xs %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}", "{% for x in xs %}{% set outer = loop %}{% for y in [1, 2] %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}", "{% set x = 'a' %}{% for i in [1] %}{% set x = 'b' %}{% for j in [1] %}{{ x }}{% set x = 'c' %}{% endfor %}{{ x }}{% endfor %}{{ x }}",
    "{% set c = cycler('a', 'b', 'c') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.next() }}{{ c.reset() }}{{ c.next() }}", "{% set j = joiner('; ') %}{% for x in xs %}{{ j() }}{{ x }}{% endfor %}", "{% set j = joiner() %}{{ j() }}{{ j() }}",
    "{% set messages = messages + [{'a': 1}] %}{{ messages }}", "{% for m in loop_over if m.x %}{{ m }}{% else %}x{% endfor %}", "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}", "{% set f = 'upper' %}{{ [f] | map('length') | list }}", "{% macro m(x, y='d') %}{{ x }}{{ y }}{% endmacro %}{% set args = [1, 2] %}{% set kw = {'x': 3} %}{{ m(*args) }}{{ m(**kw) }}",
    "{% for item in [1, 2, 3] %}{% if loop.first %}F{% elif loop.last %}L{% else %}M{% endif %}{% endfor %}", "{% for x in range(3) %}{{ 'yes' if loop.last else 'no' }}{% endfor %}", "{% set x = [] %}{% for i in range(3) %}{% set x = x + [i] %}{% endfor %}{{ x }}", "{% set ns = namespace(l=[]) %}{% for i in range(3) %}{% set ns.l = ns.l + [i] %}{% endfor %}{{ ns.l }}",
    "{% for a in xs %}{% continue %}{% else %}else{% endfor %}{% for a in xs %}{% break %}{% else %}else{% endfor %}{% for a in xs %}{% if a == 1 %}{% break %}{% endif %}{% else %}else{% endfor %}",
    "{% if x is defined and x %}a{% else %}b{% endif %}", "{% if not x %}a{% endif %}", "{% if x %}a{% endif %}", "{% if x.y is defined %}{% endif %}", "{% for a in xs %}{{ a }}{% else %}{% break %}{% endfor %}", "{% for a in xs %}{% for b in [] %}{% else %}{% break %}{% endfor %}x{% endfor %}",
]

# --------------------------------------------------------------------------------------- filters ---
FILTERS = [
    "{{ s|upper }} {{ s|lower }} {{ 'hello WORLD'|capitalize }} {{ \"it's a (nice) day-time <b>\"|title }} {{ ''|capitalize }}|{{ 5|upper }}", "{{ u|upper }} {{ u|lower }} {{ u|title }} {{ u|capitalize }} {{ 'ﬁx ǆa'|capitalize }} {{ 'ΟΔΟΣ ΣΑΣ Σ'|lower }}",
    "[{{ '  a b \n'|trim }}] [{{ 'xxaxx'|trim('x') }}] [{{ '\u00a0\u3000a\u2003'|trim }}] [{{ 5|trim }}]", "{{ 'aaa'|replace('a', 'b') }} {{ 'aaa'|replace('a', 'b', 2) }} {{ 'abc'|replace('', '-') }} {{ 5|replace(5, 6) }} {{ 'aXbX'|replace('X', '') }} {{ none|replace('None', 'x') }}",
    "{{ xs|length }} {{ s|length }} {{ d|count }} {{ u|length }} {{ undefined_name|length }} {{ ''|length }} {{ range(4)|length }}", "{{ 5|length }}", "{{ none|length }}", "{{ xs|select|length }}",
    "{{ x|default('d') }} {{ ''|default('d') }}| {{ ''|default('d', true) }} {{ none|default('d') }} {{ none|d('e', boolean=true) }} {{ x|d }}| {{ x|default(default_value=3) }} {{ 0|default(5, true) }} {{ d.q|default(d.a) }}",
    "{{ xs|join }} {{ xs|join(', ') }} {{ people|join('-', attribute='name') }} {{ 'abc'|join('.') }} {{ [1, none, true, 'x', 1.5]|join('|') }} {{ []|join(',') }}| {{ xs|join(d=':') }} {{ d|join(',') }} {{ undefined_name|join(',') }}|", "{{ 5|join }}", "{{ none|join(',') }}",
    "{{ xs|first }} {{ xs|last }} {{ []|first }}| {{ []|last }}| {{ s|first }} {{ s|last }} {{ d|first }} {{ d|last }} {{ range(3)|last }} {{ undefined_name|first }}|", "{{ xs|select|last }}", "{{ none|first }}", "{{ []|first is defined }}", "{{ xs|map('string')|first }}",
    "{{ 'abc'|list }} {{ d|list }} {{ (1, 2)|list }} {{ range(3)|list }} {{ ''|list }} {{ undefined_name|list }}", "{{ 5|list }}", "{{ none|list }}", "{{ xs|map('string')|list }} {{ names|map('upper')|list }} {{ people|map(attribute='name')|list }} {{ people|map(attribute='tags.0', default='-')|list }} {{ [' a ', 'b']|map('trim')|join }} {{ names|map('replace', 'o', '0')|list }}",
    "{{ xs|map('nofilter')|list }}", "{{ xs|map|list }}", "{{ people|map(attribute='zzz')|list }}", "{{ []|map('nofilter')|list }}", "{{ xs|select('odd')|list }} {{ xs|select('gt', 1)|list }} {{ xs|select|list }} {{ [0, 1, '', 'a', none]|select|list }} {{ xs|reject('odd')|list }} {{ [1, 'a', none]|reject('string')|list }} {{ xs|select('in', [1, 2])|list }} {{ xs|select('==', 3)|list }}",
    "{{ people|selectattr('tags')|map(attribute='name')|list }} {{ people|selectattr('age', 'equalto', 30)|map(attribute='name')|join(',') }} {{ people|rejectattr('age', '==', 30)|list }} {{ people|selectattr('tags', 'defined')|list|length }} {{ people|rejectattr('tags')|list|length }} {{ people|selectattr('age', 'gt', 26)|list|length }}", "{{ xs|select('notest')|list }}", "{{ none|select|list }}", "{{ people|selectattr|list }}", "{{ undefined_name|selectattr('x')|list }}",
    "{{ xs|sort }} {{ xs|sort(reverse=true) }} {{ names|sort }} {{ names|sort(case_sensitive=true) }} {{ people|sort(attribute='name')|map(attribute='name')|list }} {{ people|sort(attribute='age,name')|map(attribute='name')|list }} {{ people|sort(true, attribute='age')|map(attribute='name')|list }} {{ d|sort }} {{ 'hello'|sort }} {{ [[2, 1], [1, 2]]|sort }}", "{{ [1, 'a']|sort }}", "{{ [none, 1]|sort }}", "{{ 5|sort }}",
    "{{ names|unique|list }} {{ names|unique(true)|list }} {{ [1, 1.0, true, 2]|unique|list }} {{ people|unique(attribute='age')|map(attribute='name')|list }}", "{{ [[1], [1]]|unique|list }}", "{{ xs|reverse|list }} {{ 'añb'|reverse }} {{ (1, 2)|reverse|list }} {{ d|reverse|list }} {{ range(3)|reverse|list }} {{ xs|select|reverse|length }}", "{{ 5|reverse }}",
    "{{ d|items|list }} {% for k, v in d|items %}{{ k }}{{ v }}{% endfor %} {{ undefined_name|items|list }}", "{% for k in 'abc'|items %}{% endfor %}", "{{ d|dictsort }} {{ d|dictsort(true) }} {{ d|dictsort(by='value') }} {{ d|dictsort(reverse=true) }} {{ d|dictsort(false, 'value', true) }}", "{{ d|dictsort(by='x') }}", "{{ xs|dictsort }}",
    "{{ d|tojson }} {{ d|tojson(indent=2) }} {{ xs|tojson(indent=1) }} {{ 'é\"\\n/<>&\\''|tojson }} {{ none|tojson }} {{ true|tojson }} {{ 1.0|tojson }} {{ 1e20|tojson }} {{ []|tojson(indent=2) }} {{ {}|tojson(indent=2) }} {{ (1, 2)|tojson }}", "{{ {'b': 1, 'a': {'d': 1, 'c': 2}}|tojson(sort_keys=true) }} {{ 'é😀\u007f'|tojson(ensure_ascii=true) }} {{ d|tojson(separators=(',', ':')) }} {{ xs|tojson(indent='--') }} {{ d|tojson(indent=0) }} {{ nested|tojson(indent=4) }}", "{{ {1: 'a', none: 'b', true: 'c', 1.5: 'd'}|tojson }} {{ odd|tojson }} {{ [nested, [], [[]], {'a': {}}]|tojson(indent=2) }} {{ big|tojson }}", "{{ undefined_name|tojson }}", "{{ xs|select|tojson }}", "{{ {(1, 2): 3}|tojson }}", "{{ d.items()|tojson }}", "{{ namespace()|tojson }}", "{{ d|tojson(nope=1) }}", "{{ d|tojson(true, 2) }}",
    "{{ 5|string }} {{ none|string }} {{ xs|string }} {{ d|string }} {{ 1.5|string + 'x' }} {{ undefined_name|string }}| {{ true|string }} {{ [odd, html]|string }} {{ nested|string }} {{ big|string }}", "{{ '5'|int }} {{ '5.7'|int }} {{ 'x'|int }} {{ 'x'|int(9) }} {{ 5.9|int }} {{ -5.9|int }} {{ '0x1F'|int(base=16) }} {{ '101'|int(0, 2) }} {{ ' 42 '|int }} {{ '-7'|int }} {{ none|int }} {{ true|int }} {{ [1]|int(3) }} {{ '1_000'|int }} {{ '1e3'|int }} {{ ''|int }} {{ '+5'|int }} {{ '0x1F'|int }} {{ '_1'|int }}", "{{ undefined_name|int }}", "{{ '1.5'|float }} {{ 'x'|float }} {{ 'x'|float(2.5) }} {{ 3|float }} {{ none|float }} {{ '1e5'|float }} {{ ' 2 '|float }} {{ 'inf'|float }} {{ '-nan'|float }} {{ '1_0.5'|float }} {{ '.5'|float }} {{ '5.'|float }} {{ 'e5'|float }} {{ '-Infinity'|float }}", "{{ undefined_name|float }}",
    "{{ 2.5|round }} {{ 3.5|round }} {{ 2.567|round(2) }} {{ 2.1|round(method='ceil') }} {{ 2.9|round(0, 'floor') }} {{ 5|round }} {{ -2.5|round }} {{ 1.005|round(2) }} {{ 2.675|round(2) }} {{ 42.55|round|int }} {{ 1.25|round(1) }}", "{{ 'a'|round }}", "{{ 1|round(method='x') }}", "{{ html|e }} {{ html|escape }} {{ html|e|e }} {{ html|forceescape }} {{ html|safe }} {{ 5|e }} {{ (html|e) is escaped }} {{ html is escaped }}", "{{ ('<b>'|safe) + '<i>' }} {{ '<i>' + ('<b>'|safe) }} {{ ('<b>'|safe) ~ '<i>' }} {{ ('a'|safe) + \"'q'\" + '&' }} {{ ('<b>'|safe)|upper + '<' }} {{ ('<b>'|e) + ('<'|safe) }} {{ ['<a>'|safe] }} {{ ('<b>'|safe)|replace('<', '>') + '<' }}",
    "{{ lines|indent }}", "{{ lines|indent(2, true) }}", "{{ lines|indent(width=1, blank=true) }}", "{{ lines|indent('> ', first=true) }}", "{{ ''|indent }}|{{ 'a'|indent(first=true) }}", "{{ 'a\\x0bb\\x0cc\\x1cd\\x85e\\u2028f'|indent(1) }}", "{{ 5|indent }}", "{{ [1, 2, 3]|sum }} {{ people|sum(attribute='age') }} {{ [1.5, 2]|sum }} {{ []|sum }} {{ [1]|sum(start=10) }} {{ xs|min }} {{ xs|max }} {{ names|min }} {{ names|max(true) }} {{ []|min }}| {{ people|max(attribute='age') }} {{ 'hello'|max }}", "{{ ['a']|sum }}", "{{ [1, 'a']|max }}", "{{ 'abc'|center(9) }}| {{ 'abcd'|center(9) }}| {{ 'abc'|center(2) }}|",
    "{{ 'foo bar baz qux'|truncate(9) }} {{ 'foo bar baz qux'|truncate(9, true) }} {{ 'foo bar baz qux'|truncate(11) }} {{ 'foo bar baz qux'|truncate(11, false, '...', 0) }} {{ 'abcdefghijkl'|truncate(5, end='~') }} {{ xs|truncate(5) }}", "{{ ('<b>'|safe)|list }}", "{{ 'a'|truncate(1) }}", "{{ '%s-%d-%05.1f|%5s|%-5s|%x|%%|%r|%+d|%03d'|format('a', 42, 3.14159, 'r', 'l', 255, 'q', 5, 7) }}", "{{ '%s'|format }}", "{{ '%d'|format('a') }}", "{{ '%s'|format(1, 2) }}", "{{ '%(a)s %(b)d'|format(a='x', b=2) }} {{ '%s %s' % ('a', 1) }} {{ '%s' % 'only' }} {{ '%.2f' % 2.345 }} {{ '%e' % 12345.678 }} {{ '%g' % 0.0001 }} {{ '%s' % none }} {{ '%5.1f|' % 2.25 }} {{ '%i' % 3.9 }}", "{{ '%s %s' % 'a' }}", "{{ 'x' % 'a' }}", "{{ '%q' % 'a' }}",
    "{{ xs|batch(2)|list }} {{ xs|batch(2, 0)|list }}", "{{ d|attr('items') is callable }} {{ d|attr('a') }}|", "{{ s|nofilter }}", "{% if false %}{{ s|nofilter }}{% endif %}ok", "{% if true %}{{ s|nofilter }}{% endif %}", "{{ s|nofilter if false else 'ok' }}", "{{ 'ok' if true else s|nofilter }}", "{% if false %}{% for x in xs %}{{ x|nofilter }}{% endfor %}{% endif %}", "{% if false %}{% macro m() %}{{ 1|nofilter }}{% endmacro %}{% endif %}", "{% if false %}{{ 1 is notest }}{% endif %}ok", "{{ 1 is notest }}",
    "{{ xs|s.0 }}", "{{ xs|a.b }}", "{{ '\\x0b \\x0b'|float }}{{ ' '|int }}{{ ' \\n'|trim }}|", "{{ -5|abs }} {{ 'a'|abs }}", "{{ xs|upper }} {{ none|lower }} {{ true|upper }}", "{{ s|upper|lower|title|replace('o', '0')|length }}", "{{ [1, [2, 3]]|first|string ~ 'x' }}", "{{ (xs|sort)[0] }} {{ xs|sort|first }} {{ (xs|join(','))|length }} {{ 'a,b'.split(',')|map('upper')|join('+') }}", "{{ s|default('x')|upper }} {{ s | trim | length }} {{ 1|default(2)|string|length }}",
    "{{ xs|select }}"[:0] + "{{ (xs|select) is iterable }} {{ (xs|select) is sequence }} {{ (xs|select)[0] }}|", "{% set g = xs|select %}{{ g|list }}{{ g|list }}", "{% if [] | select %}truthy{% endif %}", "{{ xs|length(1) }}", "{{ xs|join(1, 2, 3) }}", "{{ xs|sort(nope=1) }}", "{{ xs|default(1, 2, 3) }}", "{{ 'a'|replace('a') }}", "{{ xs|first(1) }}",
]

# --------------------------------------------------------------------------------- tests, methods ---
TESTS = [
    "{{ x is defined }} {{ s is defined }} {{ x is undefined }} {{ x is not defined }} {{ nul is none }} {{ nul is defined }} {{ s is not none }} {{ d.zz is defined }} {{ x is none }}",
    "{% for v in [s, 1, 1.5, true, none, xs, d, (1,), ''] %}{{ v is string }},{{ v is number }},{{ v is integer }},{{ v is float }},{{ v is boolean }},{{ v is mapping }},{{ v is iterable }},{{ v is sequence }},{{ v is true }},{{ v is false }},{{ v is callable }};{% endfor %}",
    "{{ x is string }} {{ x is iterable }} {{ x is sequence }} {{ x is mapping }} {{ x is callable }} {{ range(2) is sequence }} {{ range(2) is iterable }} {{ d.items() is sequence }} {{ d.items() is iterable }} {{ range is callable }} {{ namespace() is mapping }} {{ namespace() is iterable }} {{ big is integer }} {{ big is number }}",
    "{{ 1 is odd }} {{ 2 is odd }} {{ 2 is even }} {{ 0 is even }} {{ -1 is odd }} {{ 6 is divisibleby 3 }} {{ 7 is divisibleby(3) }} {{ 3 is eq 3 }} {{ 3 is equalto(3) }} {{ 3 is ne 4 }} {{ 3 is gt 2 }} {{ 3 is lt 2 }} {{ 3 is ge 3 }} {{ 3 is le 2 }} {{ 3 is greaterthan 1 }} {{ 3 is lessthan 1 }} {{ 1 is in [1, 2] }} {{ 1 is not in [1, 2] }} {{ 'a' is in 'abc' }}",
    "{{ 'abc' is lower }} {{ 'ABC' is upper }} {{ 'aBc' is lower }} {{ '12' is lower }} {{ 'a1' is lower }} {{ none is sameas none }} {{ true is sameas true }} {{ 1 is sameas true }} {{ xs is sameas xs }} {{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }} {{ 'nope' is test }} {{ s is escaped }}",
    "{{ 'a' is odd }}", "{{ none is even }}", "{{ x is odd }}", "{{ 1 is divisibleby 0 }}", "{{ 1 is in 5 }}", "{{ x is defined and y is defined or s is defined }} {{ not x is defined }} {{ 'y' if s is string else 'n' }} {{ s is string and n is number }} {{ (s is string) ~ 'x' }} {{ 1 + 1 is number }} {{ s is string == true }}", "{{ 5 is number is true }}", "{{ 1 is }}", "{{ 1 is not }}", "{{ s is string and 'x' }} {{ s is defined|string }}",
    "{{ s.upper() }} {{ s.lower() }} {{ 'hELLO wORLD'.title() }} {{ 'hELLO'.capitalize() }} {{ \"they're x2y\".title() }} {{ u.upper() }} {{ u.title() }}", "[{{ '  x '.strip() }}] [{{ '  x '.lstrip() }}] [{{ '  x '.rstrip() }}] [{{ 'xyaxy'.strip('xy') }}] [{{ 'xyaxy'.lstrip('x') }}] [{{ 'éaé'.rstrip('é') }}] [{{ ' a'.strip(none) }}]",
    "{{ 'a b  c '.split() }} {{ 'a,b,,c'.split(',') }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ' a b  c '.split(none, 1) }} {{ ' a b  c '.rsplit(none, 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ 'abc'.split('') if false }} {{ 'a<sep>b'.split('<sep>')[-1] }} {{ 'a b'.split(' ', maxsplit=0) }} {{ 'aXbXc'.split(sep='X') }} {{ 'a\u2003b'.split() }} {{ ' a b c'.split(none, 0) }}", "{{ 'a'.split('') }}", "{{ 'a'.split(1) }}", "{{ 'a'.split(undefined_name) }}",
    "{{ s.startswith('Hello') }} {{ s.endswith('x') }} {{ s.startswith(('x', 'H')) }} {{ s.endswith('') }} {{ ''.startswith('a') }}", "{{ s.startswith(1) }}", "{{ s.startswith(none) }}", "{{ s.replace('l', 'L') }} {{ s.replace('l', 'L', 1) }} {{ s.replace('zz', '') }} {{ 'aa'.replace('', '-', 2) }}", "{{ s.replace('l') }}", "{{ s.replace('l', none) }}", "{{ s.find('o') }} {{ s.rfind('o') }} {{ s.find('zz') }} {{ u.find('É') }} {{ s.index('W') }} {{ s.rindex('l') }} {{ s.count('l') }} {{ 'aaa'.count('aa') }} {{ 'abc'.count('') }} {{ s.find('') }} {{ s.rfind('') }}", "{{ s.index('zz') }}",
    "{{ ', '.join(['a', 'b']) }} {{ ''.join('abc') }} {{ '-'.join(d) }} {{ ','.join([]) }}|", "{{ ','.join([1]) }}", "{{ ','.join(none) }}", "{{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ 'ab'.isalpha() }} {{ ' \n'.isspace() }} {{ ''.isdigit() }} {{ 'ab'.islower() }} {{ 'AB'.isupper() }} {{ 'aB'.isupper() }} {{ '12'.isnumeric() }} {{ '12'.isdecimal() }} {{ 'é'.islower() }} {{ 'a b'.isalpha() }}",
    "{{ 'a-b-c'.partition('-') }} {{ 'a-b-c'.rpartition('-') }} {{ 'abc'.partition('-') }} {{ 'abc'.rpartition('-') }} {{ 'a\\nb\\r\\nc\\n'.splitlines() }} {{ 'a\\nb'.splitlines(true) }} {{ ''.splitlines() }} {{ 'pre-x'.removeprefix('pre-') }} {{ 'x.py'.removesuffix('.py') }} {{ 'x'.removesuffix('longer') }} {{ '7'.zfill(3) }} {{ '-7'.zfill(4) }} {{ 'a'.ljust(3, '.') }} {{ 'a'.rjust(3) }} {{ 'ab'.center(5, '*') }} {{ 'abc'.center(6, '*') }}",
    "{{ '{} {}'.format('a', 1) }} {{ '{1}{0}'.format('a', 'b') }} {{ '{x} {y!r}'.format(x=1, y='q') }} {{ '{{}}'.format() }} {{ '{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd') }} {{ '{:05d} {:.2f} {:,} {:x} {:+d} {:#x} {:b} {:%} {:e}'.format(42, 3.14159, 1234567, 255, 5, 255, 5, 0.25, 12345.6789) }} {{ '{0[a]} {0[b]}'.format(d) }} {{ '{:.3}'.format('abcdef') }} {{ '{}'.format(none) }} {{ '{!s:>4}'.format(1) }} {{ '{:5}|{:5}|'.format(1, 'x') }} {{ '{:_}'.format(1234567) }} {{ '{}'.format(1.5) }} {{ '{:d}'.format(true) }} {{ '{}'.format(true) }}", "{{ '{}'.format() }}", "{{ '{x}'.format(y=1) }}", "{{ '{'.format(1) }}", "{{ '}'.format(1) }}", "{{ '{:d}'.format('a') }}", "{{ '{:s}'.format(1) }}", "{{ '{:z}'.format(1) }}",
    "{{ s.nope }}|", "{{ s.nope() }}", "{{ s.upper(1) }}", "{{ s.strip(1) }}", "{{ s.upper }}"[:0] + "{{ s.upper is callable }}", "{{ 'a'.join }}"[:0] + "{{ s.split('o')|length }}", "{{ s.strip().split(' ')[0].lower().replace('h', 'j') }}", "{{ (s ~ '!').endswith('!') }} {{ 'a' 'b'.upper() }}",
]

# ------------------------------------------------------------------------------------- functions ---
FUNCTIONS = [
    "{{ range(3)|list }} {{ range(1, 4)|list }} {{ range(5, 0, -2)|list }} {{ range(0)|list }} {{ range(3) }} {{ range(1, 10, 3) }} {{ range(3)[1] }} {{ range(3)|length }} {{ range(-2)|list }} {{ range(2) == range(0, 2) }}", "{{ range(1.5) }}", "{{ range('a') }}", "{{ range() }}", "{{ range(1, 2, 0) }}", "{{ range(100001) }}", "{{ range(100000)|length }}",
    "{{ dict(a=1, b='x') }} {{ dict({'a': 1}, b=2) }} {{ dict([('a', 1)]) }} {{ dict() }} {{ dict(a=1).a }}", "{{ dict(1) }}", "{{ raise_exception('boom ' ~ 1) }}", "{{ raise_exception() }}", "{% if false %}{{ raise_exception('x') }}{% endif %}ok", "{{ strftime_now('%Y-%m-%d %H:%M:%S %d %b %Y %B %A %a %j %y %I %p %e %-d %-m %% %F %T %D %c %x %X %u %w %Z|%z|') }}",
    "{{ strftime_now is defined }} {{ raise_exception is defined }}", "{{ strftime_now(1) }}", "{{ undefined_function() }}", "{{ d() }}", "{{ range }}"[:0] + "{{ namespace is callable }}", "{{ cycler() }}", "{{ joiner }}"[:0] + "{{ dict is callable }}", ("{{ range }}", {"range": "shadowed"}), ("{{ namespace }}{{ joiner is defined }}", {"namespace": 1}),
]

VARIABLES = [
    "{{ nul }} {{ yes }} {{ no }} {{ n }} {{ f }} {{ big }} {{ s }} {{ x }}|", "{{ xs }} {{ d }} {{ people }} {{ nested }}", "{{ odd }}", "{{ [odd] }}", "{{ [html, u] }}", "{{ big + 0 if false else big }} {{ big == big }} {{ [big] }} {{ big|string|length }}", "{{ messages }} {{ tools }} {{ documents }}",
    ("{{ v }} {{ v|tojson }}", {"v": 1.5e300}), ("{{ v }} {{ v|tojson }}", {"v": -0.0}), ("{{ v|tojson }}", {"v": [0.1, 1e-7, 123456789012.5, 1e21, 5e-324]}), ("{{ v|tojson }}", {"v": "\U0001f600\u0000\u001f"}), ("{{ v }}", {"v": {"a": None, "b": [True, False]}}),
    ("{{ messages[0].thinking }} {{ messages[0].reasoning_content }} {{ messages[0]|tojson }}", {"messages": [{"role": "assistant", "content": "c", "reasoning": "r"}]}), ("{{ messages|tojson }}", {"messages": [{"role": "a", "thinking": "t", "content": ""}, {"role": "b", "reasoning_content": None}, {"role": "c", "reasoning_content": "x", "thinking": None}]}),
    ("{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}", {"messages": [{"role": "user", "content": "a"}, {"role": "x y", "content": "b"}]}),
    "{{ loop }}"[:0] + "{{ loop is defined }} {{ caller is defined }} {{ self_is is defined }}", "{{ varargs is defined }}",
]


def with_data(sources):
    for source in sources:
        if isinstance(source, tuple):
            yield source
        elif source or sources is WHITESPACE:
            needed = {k: v for k, v in DATA.items() if k in source}
            yield source, needed


SNIPPETS = [snippet for group in (WHITESPACE, LITERALS, ARITHMETIC, LOGIC, ACCESS, STATEMENTS, FILTERS, TESTS, FUNCTIONS, VARIABLES)
            for snippet in with_data(group)]
