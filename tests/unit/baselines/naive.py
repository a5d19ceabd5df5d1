"""A transformer tower in plain loops and float64, as an oracle: one token, one head and one number at a time."""

import math

import torch

MASKED = float("-inf")


def numbers(tensor):
    return tensor.detach().double()


def layer_norm(vector, norm):
    centred = vector - vector.mean()
    return centred / ((centred**2).mean() + norm.eps).sqrt() * numbers(norm.weight) + numbers(norm.bias)


def gelu(vector):
    return torch.stack([x * 0.5 * (1 + math.erf(float(x) / math.sqrt(2))) for x in vector])


def attention(states, module, causal):
    """Multi-head self-attention of a list of vectors."""
    width, heads = len(states[0]), module.num_heads
    size = width // heads
    weight, bias = numbers(module.in_proj_weight), numbers(module.in_proj_bias)
    q, k, v = (
        [weight[p * width : (p + 1) * width] @ x + bias[p * width : (p + 1) * width] for x in states] for p in range(3)
    )
    result = []
    for place in range(len(states)):
        mixed = torch.zeros(width, dtype=torch.float64)
        for head in range(heads):
            own = slice(head * size, (head + 1) * size)
            seen = range(place + 1) if causal else range(len(states))
            logits = torch.stack([q[place][own] @ k[other][own] / math.sqrt(size) for other in seen])
            shares = logits.exp() / logits.exp().sum()
            for share, other in zip(shares, seen, strict=True):
                mixed[own] += share * v[other][own]
        result.append(numbers(module.out_proj.weight) @ mixed + numbers(module.out_proj.bias))
    return result


def feed_forward(vector, module):
    hidden = gelu(numbers(module.c_fc.weight) @ vector + numbers(module.c_fc.bias))
    return numbers(module.c_proj.weight) @ hidden + numbers(module.c_proj.bias)


def bottleneck(vector, module):
    """Houlsby's adapter, with its own skip connection."""
    hidden = gelu(numbers(module.down) @ vector + numbers(module.down_bias))
    return vector + numbers(module.up) @ hidden + numbers(module.up_bias)


def block(states, module, causal, adapters=(None, None), prompts=()):
    """One residual block: adapters behind its two parts, prompts behind its first token."""
    count = len(prompts)
    states = [states[0], *(numbers(prompt) for prompt in prompts), *states[1:]]
    attended = attention([layer_norm(x, module.ln_1) for x in states], module.attn, causal)
    if adapters[0] is not None:
        attended = [bottleneck(x, adapters[0]) for x in attended]
    states = [x + change for x, change in zip(states, attended, strict=True)]
    for place, x in enumerate(states):
        change = feed_forward(layer_norm(x, module.ln_2), module.mlp)
        states[place] = x + (change if adapters[1] is None else bottleneck(change, adapters[1]))
    return [states[0], *states[1 + count :]]


def unit(vector):
    return vector / vector.norm()


def image_states(visual, pixels):
    """Class token and patches of one normalised image, before the blocks."""
    size = visual.patch_size[0]
    rows, columns = visual.grid_size
    states = [numbers(visual.class_embedding)]
    for row in range(rows):
        for column in range(columns):
            patch = numbers(pixels[:, row * size : (row + 1) * size, column * size : (column + 1) * size])
            states.append((numbers(visual.conv1.weight) * patch).sum(dim=(1, 2, 3)))
    places = numbers(visual.positional_embedding)
    return [layer_norm(x + place, visual.ln_pre) for x, place in zip(states, places, strict=True)]


def image_embedding(visual, states):
    return unit(layer_norm(states[0], visual.ln_post) @ numbers(visual.proj))


def text_embedding(text, end_state):
    return unit(layer_norm(end_state, text.ln_final) @ numbers(text.text_projection))
