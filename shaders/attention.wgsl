// attention — each query looks at one range of keys; the scores are never stored.
//   forward          s_ij = scale·(q_i · k_j),  y_i = Σ_j p_ij v_j,  p_ij = exp(s_ij − lse_i),  lse_i = log Σ_j exp(s_ij)
//                    over the keys j in key_range[i]; an online softmax. A query that sees no key gets zeros.
//   backward_delta   δ_i = dy_i · y_i = Σ_j p_ij (dy_i · v_j)
//   backward_query   dq_i = Σ_j ds_ij k_j               ds_ij = scale·p_ij·(dy_i · v_j − δ_i)
//   backward_key     dk_j = Σ_i ds_ij q_i,  dv_j = Σ_i p_ij dy_i    also over the query heads that share the key's head
//   backward_clear   zeros, where a gradient has columns that are neither q, k nor v
// q, dq [queries, q_width], heads·head_dim columns from q_start; kv, dkv [keys, kv_width], key_value_heads·head_dim
// columns from key_start and from value_start; they may be one value, of which the passes write different columns.
// y, dy [queries, heads·head_dim]; lse [queries, heads]; stats = (lse, δ) [queries, heads]: one buffer, so that no
// pass needs more than eight. key_range [queries], query_range [keys]: (first, end); query_range bounds the loops of
// backward_key, key_range alone decides which pairs count.
// Absent: workgroup memory. An invocation owns TILE rows of one head and 4·QUADS of its features (where a head is
// wider, the scores are computed once per slice), and meets TILE rows of the other side at a time, in registers.
struct Params {
  queries_extent: u32,
  keys_extent: u32,
  heads: u32,
  key_value_heads: u32,
  head_dim: u32,
  slices: u32,
  q_width: u32,
  q_start: u32,
  kv_width: u32,
  key_start: u32,
  value_start: u32,
  scale: f32,
}
@group(0) @binding(1) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> q: array<vec4f>;
@group(0) @binding(3) var<storage, read> kv: array<vec4f>;
@group(0) @binding(4) var<storage, read> key_range: array<vec2u>;
@group(0) @binding(5) var<storage, read> query_range: array<vec2u>;
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<storage, read_write> lse_out: array<f32>;
@group(0) @binding(8) var<storage, read> y_saved: array<vec4f>;
@group(0) @binding(9) var<storage, read> lse: array<f32>;
@group(0) @binding(10) var<storage, read> dy: array<vec4f>;
@group(0) @binding(11) var<storage, read_write> stats_out: array<vec2f>;
@group(0) @binding(12) var<storage, read> stats: array<vec2f>;
@group(0) @binding(13) var<storage, read_write> dq: array<f32>;
@group(0) @binding(14) var<storage, read_write> dkv: array<f32>;

// Rows of a tile: 4, or 8, for which the b halves below come to life.
override TILE: u32 = 4;
// Four-feature columns of an invocation's slice, up to 16.
override QUADS: u32 = 8;
override LANES: u32 = 64;
// Every row and head starts at a multiple of four: whole vectors can be read.
override ALIGNED: bool = true;
// Neighbouring lanes: tiles of one head (they share keys in the cache), or heads of one tile (loops of equal length).
override TILES_FIRST: bool = true;

const NONE = 0xffffffffu;
// A hidden pair's score lies so far below where the running maximum starts that its exp is 0, never of −∞ − −∞.
const HIDDEN = -2e38;
const START = -1e38;

// Four features of a tile's rows; column i is row i of its half.
struct Rows {
  a: mat4x4f,
  b: mat4x4f,
}
// A number for each (query, key) of two tiles; columns are keys, components queries.
struct Pairs {
  aa: mat4x4f, // query half a, key half a
  ab: mat4x4f,
  ba: mat4x4f,
  bb: mat4x4f,
}
// A number for each row of a tile.
struct Each {
  a: vec4f,
  b: vec4f,
}
struct Index {
  a: vec4u,
  b: vec4u,
}
// What each row of a tile sees of the other side.
struct Span {
  first: Index,
  end: Index,
}
// Which rows, head and features are this invocation's.
struct Place {
  row: u32,
  head: u32,
  quad: u32,
}

fn place_of(i: u32, rows: u32, heads: u32) -> Place {
  let tiles = (rows + TILE - 1u) / TILE;
  let parts = heads * params.slices;
  let tile = select(i / parts, i % tiles, TILES_FIRST);
  let part = select(i % parts, i / tiles, TILES_FIRST);
  // Lanes past the last one get a row that is not live.
  let row = select(rows, tile * TILE, tile < tiles && part < parts);
  return Place(row, part / params.slices, (part % params.slices) * QUADS);
}

fn key_value_head(head: u32) -> u32 {
  return head / (params.heads / params.key_value_heads);
}

fn rows_from(row: u32) -> Index {
  return Index(row + vec4u(0u, 1u, 2u, 3u), row + vec4u(4u, 5u, 6u, 7u));
}

// Where the rows start in memory. Rows from `end` on are not read: what lies there may be anything.
fn starts(row: u32, end: u32, width: u32, column: u32) -> Index {
  let rows = rows_from(row);
  return Index(min(rows.a, vec4u(end - 1u)) * width + column, min(rows.b, vec4u(end - 1u)) * width + column);
}

fn inside(quad: u32) -> vec4<bool> {
  return 4u * quad + vec4u(0u, 1u, 2u, 3u) < vec4u(params.head_dim);
}

fn q_quad(start: u32, quad: u32) -> vec4f {
  if (ALIGNED) {
    return q[start / 4u + quad];
  }
  let i = start + 4u * quad + vec4u(0u, 1u, 2u, 3u);
  let at = i / 4u;
  let c = i % 4u;
  return select(vec4f(), vec4f(q[at.x][c.x], q[at.y][c.y], q[at.z][c.z], q[at.w][c.w]), inside(quad));
}

fn kv_quad(start: u32, quad: u32) -> vec4f {
  if (ALIGNED) {
    return kv[start / 4u + quad];
  }
  let i = start + 4u * quad + vec4u(0u, 1u, 2u, 3u);
  let at = i / 4u;
  let c = i % 4u;
  return select(vec4f(), vec4f(kv[at.x][c.x], kv[at.y][c.y], kv[at.z][c.z], kv[at.w][c.w]), inside(quad));
}

fn dy_quad(start: u32, quad: u32) -> vec4f {
  if (ALIGNED) {
    return dy[start / 4u + quad];
  }
  let i = start + 4u * quad + vec4u(0u, 1u, 2u, 3u);
  let at = i / 4u;
  let c = i % 4u;
  return select(vec4f(), vec4f(dy[at.x][c.x], dy[at.y][c.y], dy[at.z][c.z], dy[at.w][c.w]), inside(quad));
}

fn q_rows(at: Index, quad: u32) -> Rows {
  var rows: Rows;
  rows.a = mat4x4f(q_quad(at.a.x, quad), q_quad(at.a.y, quad), q_quad(at.a.z, quad), q_quad(at.a.w, quad));
  if (TILE == 8u) {
    rows.b = mat4x4f(q_quad(at.b.x, quad), q_quad(at.b.y, quad), q_quad(at.b.z, quad), q_quad(at.b.w, quad));
  }
  return rows;
}

fn kv_rows(at: Index, quad: u32) -> Rows {
  var rows: Rows;
  rows.a = mat4x4f(kv_quad(at.a.x, quad), kv_quad(at.a.y, quad), kv_quad(at.a.z, quad), kv_quad(at.a.w, quad));
  if (TILE == 8u) {
    rows.b = mat4x4f(kv_quad(at.b.x, quad), kv_quad(at.b.y, quad), kv_quad(at.b.z, quad), kv_quad(at.b.w, quad));
  }
  return rows;
}

fn dy_rows(at: Index, quad: u32) -> Rows {
  var rows: Rows;
  rows.a = mat4x4f(dy_quad(at.a.x, quad), dy_quad(at.a.y, quad), dy_quad(at.a.z, quad), dy_quad(at.a.w, quad));
  if (TILE == 8u) {
    rows.b = mat4x4f(dy_quad(at.b.x, quad), dy_quad(at.b.y, quad), dy_quad(at.b.z, quad), dy_quad(at.b.w, quad));
  }
  return rows;
}

// sum + the products of each query with each key, over the four features at hand.
fn dots(sum: Pairs, queries: Rows, keys: Rows) -> Pairs {
  var pairs = sum;
  pairs.aa += transpose(queries.a) * keys.a;
  if (TILE == 8u) {
    pairs.ab += transpose(queries.a) * keys.b;
    pairs.ba += transpose(queries.b) * keys.a;
    pairs.bb += transpose(queries.b) * keys.b;
  }
  return pairs;
}

// sum_i + Σ_j weight_ij key_j, for each query i.
fn over_keys(sum: Rows, weight: Pairs, keys: Rows) -> Rows {
  var rows = sum;
  rows.a += keys.a * transpose(weight.aa);
  if (TILE == 8u) {
    rows.a += keys.b * transpose(weight.ab);
    rows.b += keys.a * transpose(weight.ba);
    rows.b += keys.b * transpose(weight.bb);
  }
  return rows;
}

// sum_j + Σ_i weight_ij query_i, for each key j.
fn over_queries(sum: Rows, weight: Pairs, queries: Rows) -> Rows {
  var rows = sum;
  rows.a += queries.a * weight.aa;
  if (TILE == 8u) {
    rows.a += queries.b * weight.ba;
    rows.b += queries.a * weight.ab;
    rows.b += queries.b * weight.bb;
  }
  return rows;
}

fn scaled(rows: Rows, by: Each) -> Rows {
  var product: Rows;
  product.a = mat4x4f(rows.a[0] * by.a.x, rows.a[1] * by.a.y, rows.a[2] * by.a.z, rows.a[3] * by.a.w);
  if (TILE == 8u) {
    product.b = mat4x4f(rows.b[0] * by.b.x, rows.b[1] * by.b.y, rows.b[2] * by.b.z, rows.b[3] * by.b.w);
  }
  return product;
}

// Empty ranges, and those of rows from `end` on, become (0, 0).
fn ordered(range: vec2u, row: u32, end: u32) -> vec2u {
  return select(vec2u(), range, row < end && range.x < range.y);
}

fn key_span(row: u32, end: u32) -> Span {
  let at = rows_from(row);
  let k = ordered(key_range[at.a.x], at.a.x, end);
  let l = ordered(key_range[at.a.y], at.a.y, end);
  let m = ordered(key_range[at.a.z], at.a.z, end);
  let n = ordered(key_range[at.a.w], at.a.w, end);
  var span: Span;
  span.first.a = vec4u(k.x, l.x, m.x, n.x);
  span.end.a = vec4u(k.y, l.y, m.y, n.y);
  if (TILE == 8u) {
    let r = ordered(key_range[at.b.x], at.b.x, end);
    let s = ordered(key_range[at.b.y], at.b.y, end);
    let t = ordered(key_range[at.b.z], at.b.z, end);
    let u = ordered(key_range[at.b.w], at.b.w, end);
    span.first.b = vec4u(r.x, s.x, t.x, u.x);
    span.end.b = vec4u(r.y, s.y, t.y, u.y);
  }
  return span;
}

fn query_span(row: u32, end: u32) -> Span {
  let at = rows_from(row);
  let k = ordered(query_range[at.a.x], at.a.x, end);
  let l = ordered(query_range[at.a.y], at.a.y, end);
  let m = ordered(query_range[at.a.z], at.a.z, end);
  let n = ordered(query_range[at.a.w], at.a.w, end);
  var span: Span;
  span.first.a = vec4u(k.x, l.x, m.x, n.x);
  span.end.a = vec4u(k.y, l.y, m.y, n.y);
  if (TILE == 8u) {
    let r = ordered(query_range[at.b.x], at.b.x, end);
    let s = ordered(query_range[at.b.y], at.b.y, end);
    let t = ordered(query_range[at.b.z], at.b.z, end);
    let u = ordered(query_range[at.b.w], at.b.w, end);
    span.first.b = vec4u(r.x, s.x, t.x, u.x);
    span.end.b = vec4u(r.y, s.y, t.y, u.y);
  }
  return span;
}

fn smallest(v: vec4u) -> u32 {
  return min(min(v.x, v.y), min(v.z, v.w));
}

// The first index from `at` on that some row of the tile sees, or NONE: what lies between two ranges is passed over.
fn next_seen(span: Span, at: u32) -> u32 {
  let start = vec4u(at);
  let next = smallest(select(vec4u(NONE), max(span.first.a, start), span.end.a > start));
  if (TILE == 4u) {
    return next;
  }
  return min(next, smallest(select(vec4u(NONE), max(span.first.b, start), span.end.b > start)));
}

fn last_seen(span: Span) -> u32 {
  let end = max(span.end.a, span.end.b);
  return max(max(end.x, end.y), max(end.z, end.w));
}

fn seen(key: u32, first: vec4u, end: vec4u) -> vec4<bool> {
  return (vec4u(key) >= first) & (vec4u(key) < end);
}

fn visible_scores(s: mat4x4f, key: u32, first: vec4u, end: vec4u) -> mat4x4f {
  return mat4x4f(
    select(vec4f(HIDDEN), s[0] * params.scale, seen(key, first, end)),
    select(vec4f(HIDDEN), s[1] * params.scale, seen(key + 1u, first, end)),
    select(vec4f(HIDDEN), s[2] * params.scale, seen(key + 2u, first, end)),
    select(vec4f(HIDDEN), s[3] * params.scale, seen(key + 3u, first, end)),
  );
}

fn largest(s: mat4x4f) -> vec4f {
  return max(max(s[0], s[1]), max(s[2], s[3]));
}

fn exp_less(s: mat4x4f, less: vec4f) -> mat4x4f {
  return mat4x4f(exp(s[0] - less), exp(s[1] - less), exp(s[2] - less), exp(s[3] - less));
}

fn total(p: mat4x4f) -> vec4f {
  return (p[0] + p[1]) + (p[2] + p[3]);
}

@compute @workgroup_size(LANES)
fn forward(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
           @builtin(local_invocation_index) lane: u32) {
  let queries = extent(params.queries_extent);
  let here = place_of(flat_workgroup(group, groups) * LANES + lane, queries, params.heads);
  if (here.row >= queries) {
    return;
  }
  let span = key_span(here.row, queries);
  let end = last_seen(span);
  let quads = (params.head_dim + 3u) / 4u;
  let head_start = key_value_head(here.head) * params.head_dim;
  let q_at = starts(here.row, queries, params.q_width, params.q_start + here.head * params.head_dim);
  var highest = Each(vec4f(START), vec4f(START));
  var sum: Each;
  var o0: Rows; var o1: Rows; var o2: Rows; var o3: Rows;
  var o4: Rows; var o5: Rows; var o6: Rows; var o7: Rows;
  var o8: Rows; var o9: Rows; var o10: Rows; var o11: Rows;
  var o12: Rows; var o13: Rows; var o14: Rows; var o15: Rows;
  var key = next_seen(span, 0u);
  while (key != NONE) {
    let k_at = starts(key, end, params.kv_width, params.key_start + head_start);
    var s = Pairs();
    for (var quad = 0u; quad < quads; quad++) {
      s = dots(s, q_rows(q_at, quad), kv_rows(k_at, quad));
    }
    var p: Pairs;
    var next = highest;
    var shrink: Each;
    p.aa = visible_scores(s.aa, key, span.first.a, span.end.a);
    next.a = max(next.a, largest(p.aa));
    if (TILE == 8u) {
      p.ab = visible_scores(s.ab, key + 4u, span.first.a, span.end.a);
      next.a = max(next.a, largest(p.ab));
      p.ba = visible_scores(s.ba, key, span.first.b, span.end.b);
      p.bb = visible_scores(s.bb, key + 4u, span.first.b, span.end.b);
      next.b = max(next.b, max(largest(p.ba), largest(p.bb)));
    }
    shrink.a = exp(highest.a - next.a);
    p.aa = exp_less(p.aa, next.a);
    sum.a = sum.a * shrink.a + total(p.aa);
    if (TILE == 8u) {
      shrink.b = exp(highest.b - next.b);
      p.ab = exp_less(p.ab, next.a);
      p.ba = exp_less(p.ba, next.b);
      p.bb = exp_less(p.bb, next.b);
      sum.a += total(p.ab);
      sum.b = sum.b * shrink.b + (total(p.ba) + total(p.bb));
    }
    // Past the first few tiles a new maximum is rare.
    if (any(next.a > highest.a) || any(next.b > highest.b)) {
      o0 = scaled(o0, shrink);
      if (QUADS > 1u) { o1 = scaled(o1, shrink); }
      if (QUADS > 2u) { o2 = scaled(o2, shrink); }
      if (QUADS > 3u) { o3 = scaled(o3, shrink); }
      if (QUADS > 4u) { o4 = scaled(o4, shrink); }
      if (QUADS > 5u) { o5 = scaled(o5, shrink); }
      if (QUADS > 6u) { o6 = scaled(o6, shrink); }
      if (QUADS > 7u) { o7 = scaled(o7, shrink); }
      if (QUADS > 8u) { o8 = scaled(o8, shrink); }
      if (QUADS > 9u) { o9 = scaled(o9, shrink); }
      if (QUADS > 10u) { o10 = scaled(o10, shrink); }
      if (QUADS > 11u) { o11 = scaled(o11, shrink); }
      if (QUADS > 12u) { o12 = scaled(o12, shrink); }
      if (QUADS > 13u) { o13 = scaled(o13, shrink); }
      if (QUADS > 14u) { o14 = scaled(o14, shrink); }
      if (QUADS > 15u) { o15 = scaled(o15, shrink); }
    }
    highest = next;
    let v_at = starts(key, end, params.kv_width, params.value_start + head_start);
    o0 = over_keys(o0, p, kv_rows(v_at, here.quad + 0u));
    if (QUADS > 1u) { o1 = over_keys(o1, p, kv_rows(v_at, here.quad + 1u)); }
    if (QUADS > 2u) { o2 = over_keys(o2, p, kv_rows(v_at, here.quad + 2u)); }
    if (QUADS > 3u) { o3 = over_keys(o3, p, kv_rows(v_at, here.quad + 3u)); }
    if (QUADS > 4u) { o4 = over_keys(o4, p, kv_rows(v_at, here.quad + 4u)); }
    if (QUADS > 5u) { o5 = over_keys(o5, p, kv_rows(v_at, here.quad + 5u)); }
    if (QUADS > 6u) { o6 = over_keys(o6, p, kv_rows(v_at, here.quad + 6u)); }
    if (QUADS > 7u) { o7 = over_keys(o7, p, kv_rows(v_at, here.quad + 7u)); }
    if (QUADS > 8u) { o8 = over_keys(o8, p, kv_rows(v_at, here.quad + 8u)); }
    if (QUADS > 9u) { o9 = over_keys(o9, p, kv_rows(v_at, here.quad + 9u)); }
    if (QUADS > 10u) { o10 = over_keys(o10, p, kv_rows(v_at, here.quad + 10u)); }
    if (QUADS > 11u) { o11 = over_keys(o11, p, kv_rows(v_at, here.quad + 11u)); }
    if (QUADS > 12u) { o12 = over_keys(o12, p, kv_rows(v_at, here.quad + 12u)); }
    if (QUADS > 13u) { o13 = over_keys(o13, p, kv_rows(v_at, here.quad + 13u)); }
    if (QUADS > 14u) { o14 = over_keys(o14, p, kv_rows(v_at, here.quad + 14u)); }
    if (QUADS > 15u) { o15 = over_keys(o15, p, kv_rows(v_at, here.quad + 15u)); }
    key = next_seen(span, key + TILE);
  }
  var inverse: Each;
  inverse.a = select(vec4f(), 1.0 / sum.a, sum.a > vec4f());
  inverse.b = select(vec4f(), 1.0 / sum.b, sum.b > vec4f());
  store_y(here, queries, 0u, scaled(o0, inverse));
  if (QUADS > 1u) { store_y(here, queries, 1u, scaled(o1, inverse)); }
  if (QUADS > 2u) { store_y(here, queries, 2u, scaled(o2, inverse)); }
  if (QUADS > 3u) { store_y(here, queries, 3u, scaled(o3, inverse)); }
  if (QUADS > 4u) { store_y(here, queries, 4u, scaled(o4, inverse)); }
  if (QUADS > 5u) { store_y(here, queries, 5u, scaled(o5, inverse)); }
  if (QUADS > 6u) { store_y(here, queries, 6u, scaled(o6, inverse)); }
  if (QUADS > 7u) { store_y(here, queries, 7u, scaled(o7, inverse)); }
  if (QUADS > 8u) { store_y(here, queries, 8u, scaled(o8, inverse)); }
  if (QUADS > 9u) { store_y(here, queries, 9u, scaled(o9, inverse)); }
  if (QUADS > 10u) { store_y(here, queries, 10u, scaled(o10, inverse)); }
  if (QUADS > 11u) { store_y(here, queries, 11u, scaled(o11, inverse)); }
  if (QUADS > 12u) { store_y(here, queries, 12u, scaled(o12, inverse)); }
  if (QUADS > 13u) { store_y(here, queries, 13u, scaled(o13, inverse)); }
  if (QUADS > 14u) { store_y(here, queries, 14u, scaled(o14, inverse)); }
  if (QUADS > 15u) { store_y(here, queries, 15u, scaled(o15, inverse)); }
  if (here.quad == 0u) {
    // A query that sees nothing has no pairs: its value is never used, but it is a number.
    let saved = Each(
      select(vec4f(), highest.a + log(sum.a), sum.a > vec4f()),
      select(vec4f(), highest.b + log(sum.b), sum.b > vec4f()),
    );
    for (var i = 0u; i < min(TILE, queries - here.row); i++) {
      lse_out[(here.row + i) * params.heads + here.head] = select(saved.a, saved.b, i >= 4u)[i % 4u];
    }
  }
}

fn store_y(here: Place, queries: u32, quad: u32, rows: Rows) {
  let feature = 4u * (here.quad + quad);
  for (var i = 0u; i < min(TILE, queries - here.row); i++) {
    let at = ((here.row + i) * params.heads + here.head) * params.head_dim + feature;
    let value = row_of(rows, i);
    for (var f = 0u; f < 4u && feature + f < params.head_dim; f++) {
      y[at + f] = value[f];
    }
  }
}

fn row_of(rows: Rows, i: u32) -> vec4f {
  switch (i) {
    case 0u: { return rows.a[0]; }
    case 1u: { return rows.a[1]; }
    case 2u: { return rows.a[2]; }
    case 3u: { return rows.a[3]; }
    case 4u: { return rows.b[0]; }
    case 5u: { return rows.b[1]; }
    case 6u: { return rows.b[2]; }
    default: { return rows.b[3]; }
  }
}

// One invocation a query and head.
@compute @workgroup_size(LANES)
fn backward_delta(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  if (i >= extent(params.queries_extent) * params.heads) {
    return;
  }
  let start = i * params.head_dim;
  var sum = 0.0;
  for (var f = start; f < start + params.head_dim; f++) {
    sum += dy[f / 4u][f % 4u] * y_saved[f / 4u][f % 4u];
  }
  stats_out[i] = vec2f(lse[i], sum);
}

// lse and δ of a tile's queries.
struct Stats {
  lse: Each,
  delta: Each,
}

fn stats_from(row: u32, end: u32, head: u32) -> Stats {
  let at = starts(row, end, params.heads, head);
  let k = stats[at.a.x];
  let l = stats[at.a.y];
  let m = stats[at.a.z];
  let n = stats[at.a.w];
  var found: Stats;
  found.lse.a = vec4f(k.x, l.x, m.x, n.x);
  found.delta.a = vec4f(k.y, l.y, m.y, n.y);
  if (TILE == 8u) {
    let r = stats[at.b.x];
    let s = stats[at.b.y];
    let t = stats[at.b.z];
    let u = stats[at.b.w];
    found.lse.b = vec4f(r.x, s.x, t.x, u.x);
    found.delta.b = vec4f(r.y, s.y, t.y, u.y);
  }
  return found;
}

fn probabilities(s: Pairs, key: u32, span: Span, saved: Stats) -> Pairs {
  var p: Pairs;
  p.aa = exp_less(visible_scores(s.aa, key, span.first.a, span.end.a), saved.lse.a);
  if (TILE == 8u) {
    p.ab = exp_less(visible_scores(s.ab, key + 4u, span.first.a, span.end.a), saved.lse.a);
    p.ba = exp_less(visible_scores(s.ba, key, span.first.b, span.end.b), saved.lse.b);
    p.bb = exp_less(visible_scores(s.bb, key + 4u, span.first.b, span.end.b), saved.lse.b);
  }
  return p;
}

fn weighted(p: mat4x4f, dp: mat4x4f, delta: vec4f) -> mat4x4f {
  return mat4x4f(
    params.scale * p[0] * (dp[0] - delta),
    params.scale * p[1] * (dp[1] - delta),
    params.scale * p[2] * (dp[2] - delta),
    params.scale * p[3] * (dp[3] - delta),
  );
}

// ds from p and dp_ij = dy_i · v_j.
fn score_gradients(p: Pairs, dp: Pairs, saved: Stats) -> Pairs {
  var ds: Pairs;
  ds.aa = weighted(p.aa, dp.aa, saved.delta.a);
  if (TILE == 8u) {
    ds.ab = weighted(p.ab, dp.ab, saved.delta.a);
    ds.ba = weighted(p.ba, dp.ba, saved.delta.b);
    ds.bb = weighted(p.bb, dp.bb, saved.delta.b);
  }
  return ds;
}

@compute @workgroup_size(LANES)
fn backward_query(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let queries = extent(params.queries_extent);
  let here = place_of(flat_workgroup(group, groups) * LANES + lane, queries, params.heads);
  if (here.row >= queries) {
    return;
  }
  let span = key_span(here.row, queries);
  let end = last_seen(span);
  let quads = (params.head_dim + 3u) / 4u;
  let head_start = key_value_head(here.head) * params.head_dim;
  let q_at = starts(here.row, queries, params.q_width, params.q_start + here.head * params.head_dim);
  let dy_at = starts(here.row, queries, params.heads * params.head_dim, here.head * params.head_dim);
  let saved = stats_from(here.row, queries, here.head);
  var g0: Rows; var g1: Rows; var g2: Rows; var g3: Rows;
  var g4: Rows; var g5: Rows; var g6: Rows; var g7: Rows;
  var g8: Rows; var g9: Rows; var g10: Rows; var g11: Rows;
  var g12: Rows; var g13: Rows; var g14: Rows; var g15: Rows;
  var key = next_seen(span, 0u);
  while (key != NONE) {
    let k_at = starts(key, end, params.kv_width, params.key_start + head_start);
    let v_at = starts(key, end, params.kv_width, params.value_start + head_start);
    var s = Pairs();
    var dp = Pairs();
    for (var quad = 0u; quad < quads; quad++) {
      s = dots(s, q_rows(q_at, quad), kv_rows(k_at, quad));
      dp = dots(dp, dy_rows(dy_at, quad), kv_rows(v_at, quad));
    }
    let ds = score_gradients(probabilities(s, key, span, saved), dp, saved);
    g0 = over_keys(g0, ds, kv_rows(k_at, here.quad + 0u));
    if (QUADS > 1u) { g1 = over_keys(g1, ds, kv_rows(k_at, here.quad + 1u)); }
    if (QUADS > 2u) { g2 = over_keys(g2, ds, kv_rows(k_at, here.quad + 2u)); }
    if (QUADS > 3u) { g3 = over_keys(g3, ds, kv_rows(k_at, here.quad + 3u)); }
    if (QUADS > 4u) { g4 = over_keys(g4, ds, kv_rows(k_at, here.quad + 4u)); }
    if (QUADS > 5u) { g5 = over_keys(g5, ds, kv_rows(k_at, here.quad + 5u)); }
    if (QUADS > 6u) { g6 = over_keys(g6, ds, kv_rows(k_at, here.quad + 6u)); }
    if (QUADS > 7u) { g7 = over_keys(g7, ds, kv_rows(k_at, here.quad + 7u)); }
    if (QUADS > 8u) { g8 = over_keys(g8, ds, kv_rows(k_at, here.quad + 8u)); }
    if (QUADS > 9u) { g9 = over_keys(g9, ds, kv_rows(k_at, here.quad + 9u)); }
    if (QUADS > 10u) { g10 = over_keys(g10, ds, kv_rows(k_at, here.quad + 10u)); }
    if (QUADS > 11u) { g11 = over_keys(g11, ds, kv_rows(k_at, here.quad + 11u)); }
    if (QUADS > 12u) { g12 = over_keys(g12, ds, kv_rows(k_at, here.quad + 12u)); }
    if (QUADS > 13u) { g13 = over_keys(g13, ds, kv_rows(k_at, here.quad + 13u)); }
    if (QUADS > 14u) { g14 = over_keys(g14, ds, kv_rows(k_at, here.quad + 14u)); }
    if (QUADS > 15u) { g15 = over_keys(g15, ds, kv_rows(k_at, here.quad + 15u)); }
    key = next_seen(span, key + TILE);
  }
  store_dq(here, queries, 0u, g0);
  if (QUADS > 1u) { store_dq(here, queries, 1u, g1); }
  if (QUADS > 2u) { store_dq(here, queries, 2u, g2); }
  if (QUADS > 3u) { store_dq(here, queries, 3u, g3); }
  if (QUADS > 4u) { store_dq(here, queries, 4u, g4); }
  if (QUADS > 5u) { store_dq(here, queries, 5u, g5); }
  if (QUADS > 6u) { store_dq(here, queries, 6u, g6); }
  if (QUADS > 7u) { store_dq(here, queries, 7u, g7); }
  if (QUADS > 8u) { store_dq(here, queries, 8u, g8); }
  if (QUADS > 9u) { store_dq(here, queries, 9u, g9); }
  if (QUADS > 10u) { store_dq(here, queries, 10u, g10); }
  if (QUADS > 11u) { store_dq(here, queries, 11u, g11); }
  if (QUADS > 12u) { store_dq(here, queries, 12u, g12); }
  if (QUADS > 13u) { store_dq(here, queries, 13u, g13); }
  if (QUADS > 14u) { store_dq(here, queries, 14u, g14); }
  if (QUADS > 15u) { store_dq(here, queries, 15u, g15); }
}

fn store_dq(here: Place, queries: u32, quad: u32, rows: Rows) {
  let feature = 4u * (here.quad + quad);
  for (var i = 0u; i < min(TILE, queries - here.row); i++) {
    let at = (here.row + i) * params.q_width + params.q_start + here.head * params.head_dim + feature;
    let value = row_of(rows, i);
    for (var f = 0u; f < 4u && feature + f < params.head_dim; f++) {
      dq[at + f] = value[f];
    }
  }
}

// An invocation's rows are keys here, and it goes through all query heads that share its head: no sum is left over.
@compute @workgroup_size(LANES)
fn backward_key(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                @builtin(local_invocation_index) lane: u32) {
  let keys = extent(params.keys_extent);
  let here = place_of(flat_workgroup(group, groups) * LANES + lane, keys, params.key_value_heads);
  if (here.row >= keys) {
    return;
  }
  let seen_by = query_span(here.row, keys);
  let end = last_seen(seen_by);
  let quads = (params.head_dim + 3u) / 4u;
  let k_at = starts(here.row, keys, params.kv_width, params.key_start + here.head * params.head_dim);
  let v_at = starts(here.row, keys, params.kv_width, params.value_start + here.head * params.head_dim);
  let sharing = params.heads / params.key_value_heads;
  var g0: Rows; var g1: Rows; var g2: Rows; var g3: Rows;
  var g4: Rows; var g5: Rows; var g6: Rows; var g7: Rows;
  var g8: Rows; var g9: Rows; var g10: Rows; var g11: Rows;
  var g12: Rows; var g13: Rows; var g14: Rows; var g15: Rows;
  var h0: Rows; var h1: Rows; var h2: Rows; var h3: Rows;
  var h4: Rows; var h5: Rows; var h6: Rows; var h7: Rows;
  var h8: Rows; var h9: Rows; var h10: Rows; var h11: Rows;
  var h12: Rows; var h13: Rows; var h14: Rows; var h15: Rows;
  for (var head = here.head * sharing; head < (here.head + 1u) * sharing; head++) {
    var query = next_seen(seen_by, 0u);
    while (query != NONE) {
      let span = key_span(query, end);
      let saved = stats_from(query, end, head);
      let q_at = starts(query, end, params.q_width, params.q_start + head * params.head_dim);
      let dy_at = starts(query, end, params.heads * params.head_dim, head * params.head_dim);
      var s = Pairs();
      var dp = Pairs();
      for (var quad = 0u; quad < quads; quad++) {
        s = dots(s, q_rows(q_at, quad), kv_rows(k_at, quad));
        dp = dots(dp, dy_rows(dy_at, quad), kv_rows(v_at, quad));
      }
      let p = probabilities(s, here.row, span, saved);
      let ds = score_gradients(p, dp, saved);
      g0 = over_queries(g0, ds, q_rows(q_at, here.quad + 0u));
      if (QUADS > 1u) { g1 = over_queries(g1, ds, q_rows(q_at, here.quad + 1u)); }
      if (QUADS > 2u) { g2 = over_queries(g2, ds, q_rows(q_at, here.quad + 2u)); }
      if (QUADS > 3u) { g3 = over_queries(g3, ds, q_rows(q_at, here.quad + 3u)); }
      if (QUADS > 4u) { g4 = over_queries(g4, ds, q_rows(q_at, here.quad + 4u)); }
      if (QUADS > 5u) { g5 = over_queries(g5, ds, q_rows(q_at, here.quad + 5u)); }
      if (QUADS > 6u) { g6 = over_queries(g6, ds, q_rows(q_at, here.quad + 6u)); }
      if (QUADS > 7u) { g7 = over_queries(g7, ds, q_rows(q_at, here.quad + 7u)); }
      if (QUADS > 8u) { g8 = over_queries(g8, ds, q_rows(q_at, here.quad + 8u)); }
      if (QUADS > 9u) { g9 = over_queries(g9, ds, q_rows(q_at, here.quad + 9u)); }
      if (QUADS > 10u) { g10 = over_queries(g10, ds, q_rows(q_at, here.quad + 10u)); }
      if (QUADS > 11u) { g11 = over_queries(g11, ds, q_rows(q_at, here.quad + 11u)); }
      if (QUADS > 12u) { g12 = over_queries(g12, ds, q_rows(q_at, here.quad + 12u)); }
      if (QUADS > 13u) { g13 = over_queries(g13, ds, q_rows(q_at, here.quad + 13u)); }
      if (QUADS > 14u) { g14 = over_queries(g14, ds, q_rows(q_at, here.quad + 14u)); }
      if (QUADS > 15u) { g15 = over_queries(g15, ds, q_rows(q_at, here.quad + 15u)); }
      h0 = over_queries(h0, p, dy_rows(dy_at, here.quad + 0u));
      if (QUADS > 1u) { h1 = over_queries(h1, p, dy_rows(dy_at, here.quad + 1u)); }
      if (QUADS > 2u) { h2 = over_queries(h2, p, dy_rows(dy_at, here.quad + 2u)); }
      if (QUADS > 3u) { h3 = over_queries(h3, p, dy_rows(dy_at, here.quad + 3u)); }
      if (QUADS > 4u) { h4 = over_queries(h4, p, dy_rows(dy_at, here.quad + 4u)); }
      if (QUADS > 5u) { h5 = over_queries(h5, p, dy_rows(dy_at, here.quad + 5u)); }
      if (QUADS > 6u) { h6 = over_queries(h6, p, dy_rows(dy_at, here.quad + 6u)); }
      if (QUADS > 7u) { h7 = over_queries(h7, p, dy_rows(dy_at, here.quad + 7u)); }
      if (QUADS > 8u) { h8 = over_queries(h8, p, dy_rows(dy_at, here.quad + 8u)); }
      if (QUADS > 9u) { h9 = over_queries(h9, p, dy_rows(dy_at, here.quad + 9u)); }
      if (QUADS > 10u) { h10 = over_queries(h10, p, dy_rows(dy_at, here.quad + 10u)); }
      if (QUADS > 11u) { h11 = over_queries(h11, p, dy_rows(dy_at, here.quad + 11u)); }
      if (QUADS > 12u) { h12 = over_queries(h12, p, dy_rows(dy_at, here.quad + 12u)); }
      if (QUADS > 13u) { h13 = over_queries(h13, p, dy_rows(dy_at, here.quad + 13u)); }
      if (QUADS > 14u) { h14 = over_queries(h14, p, dy_rows(dy_at, here.quad + 14u)); }
      if (QUADS > 15u) { h15 = over_queries(h15, p, dy_rows(dy_at, here.quad + 15u)); }
      query = next_seen(seen_by, query + TILE);
    }
  }
  store_dkv(here, keys, params.key_start, 0u, g0);
  if (QUADS > 1u) { store_dkv(here, keys, params.key_start, 1u, g1); }
  if (QUADS > 2u) { store_dkv(here, keys, params.key_start, 2u, g2); }
  if (QUADS > 3u) { store_dkv(here, keys, params.key_start, 3u, g3); }
  if (QUADS > 4u) { store_dkv(here, keys, params.key_start, 4u, g4); }
  if (QUADS > 5u) { store_dkv(here, keys, params.key_start, 5u, g5); }
  if (QUADS > 6u) { store_dkv(here, keys, params.key_start, 6u, g6); }
  if (QUADS > 7u) { store_dkv(here, keys, params.key_start, 7u, g7); }
  if (QUADS > 8u) { store_dkv(here, keys, params.key_start, 8u, g8); }
  if (QUADS > 9u) { store_dkv(here, keys, params.key_start, 9u, g9); }
  if (QUADS > 10u) { store_dkv(here, keys, params.key_start, 10u, g10); }
  if (QUADS > 11u) { store_dkv(here, keys, params.key_start, 11u, g11); }
  if (QUADS > 12u) { store_dkv(here, keys, params.key_start, 12u, g12); }
  if (QUADS > 13u) { store_dkv(here, keys, params.key_start, 13u, g13); }
  if (QUADS > 14u) { store_dkv(here, keys, params.key_start, 14u, g14); }
  if (QUADS > 15u) { store_dkv(here, keys, params.key_start, 15u, g15); }
  store_dkv(here, keys, params.value_start, 0u, h0);
  if (QUADS > 1u) { store_dkv(here, keys, params.value_start, 1u, h1); }
  if (QUADS > 2u) { store_dkv(here, keys, params.value_start, 2u, h2); }
  if (QUADS > 3u) { store_dkv(here, keys, params.value_start, 3u, h3); }
  if (QUADS > 4u) { store_dkv(here, keys, params.value_start, 4u, h4); }
  if (QUADS > 5u) { store_dkv(here, keys, params.value_start, 5u, h5); }
  if (QUADS > 6u) { store_dkv(here, keys, params.value_start, 6u, h6); }
  if (QUADS > 7u) { store_dkv(here, keys, params.value_start, 7u, h7); }
  if (QUADS > 8u) { store_dkv(here, keys, params.value_start, 8u, h8); }
  if (QUADS > 9u) { store_dkv(here, keys, params.value_start, 9u, h9); }
  if (QUADS > 10u) { store_dkv(here, keys, params.value_start, 10u, h10); }
  if (QUADS > 11u) { store_dkv(here, keys, params.value_start, 11u, h11); }
  if (QUADS > 12u) { store_dkv(here, keys, params.value_start, 12u, h12); }
  if (QUADS > 13u) { store_dkv(here, keys, params.value_start, 13u, h13); }
  if (QUADS > 14u) { store_dkv(here, keys, params.value_start, 14u, h14); }
  if (QUADS > 15u) { store_dkv(here, keys, params.value_start, 15u, h15); }
}

fn store_dkv(here: Place, keys: u32, column: u32, quad: u32, rows: Rows) {
  let feature = 4u * (here.quad + quad);
  for (var i = 0u; i < min(TILE, keys - here.row); i++) {
    let at = (here.row + i) * params.kv_width + column + here.head * params.head_dim + feature;
    let value = row_of(rows, i);
    for (var f = 0u; f < 4u && feature + f < params.head_dim; f++) {
      dkv[at + f] = value[f];
    }
  }
}

// Runs before the others, with the rows and width of either gradient as those of dq.
@compute @workgroup_size(LANES)
fn backward_clear(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
                  @builtin(local_invocation_index) lane: u32) {
  let i = flat_workgroup(group, groups) * LANES + lane;
  if (i < extent(params.queries_extent) * params.q_width) {
    dq[i] = 0.0;
  }
}
